"""Let Ray Tune draw settings from an Optuna study, and record there how trials end."""

import itertools
import math
import random
from collections.abc import Collection
from typing import Any

import optuna
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import Trial, TrialState
from ray.tune.search import Searcher

from pipelines.project import code
from pipelines.project.settings import Setting
from pipelines.search.journal import (
    ENDED_BY_BUDGET,
    INTERRUPTED,
    NODE,
    REASON,
    SECONDS,
    SURROUNDINGS,
    tried_settings,
)
from pipelines.search.scheduling import METRIC
from pipelines.search.spaces import num_settings, settings_left
from search_spaces.shared import Space

OF_SETTING = "of_setting"  # in a trial's result: it failed for its setting, wherever it runs
TOO_SLOW = "too_slow"  # in a trial's result: the search has no time for its setting
OTHER_CODE = "other_code"  # in a trial's result: the worker's code is not the search's
MOST_DRAWS = 10  # of settings that were tried before, until one is looked for
MOST_SETTINGS = 1000  # that are looked at then


class StudySearch(Searcher):
    """Ask a study for each trial's setting, and tell it the trial's epochs and end.

    A trial that a scheduler stopped is pruned at its last epoch, and not complete: Optuna's samplers must not mix the
    two. One whose setting is too slow is pruned before its first. `known` settings are never stopped. A failure that is
    not the setting's own is recorded with its `surroundings`, in which it need not happen again.
    """

    def __init__(self, study: Study, space: Space, known: Collection[Setting], surroundings: dict[str, Any]) -> None:
        super().__init__(metric=METRIC, mode="min")
        self.study, self.space, self.known, self.surroundings = study, space, known, surroundings
        self.trials: dict[str, Trial] = {}
        self.seconds: dict[str, float | None] = {}  # that each trial has trained
        self.stopped: set[str] = set()  # the trials that the scheduler has stopped
        self.kept: set[str] = set()  # the trials that it must not stop
        self.ended: str | None = None  # why the search must end

    def suggest(self, trial_id: str) -> Any:
        try:
            code.check()
        except ValueError as error:
            self.ended = str(error)
        if self.ended:
            return Searcher.FINISHED
        self.trials[trial_id] = self.draw()
        if self.trials[trial_id].params in self.known:
            self.kept.add(trial_id)
        return self.trials[trial_id].params

    def draw(self) -> Trial:
        """Draw a setting that was not tried before, if there is one; at random where the sampler draws none."""
        tried = tried_settings(self.study)
        for _ in range(MOST_DRAWS):
            trial = self.study.ask(self.space)
            if trial.params not in tried:
                return trial
            self.drop(trial)
        left = list(itertools.islice(settings_left(self.space, tried), MOST_SETTINGS))
        if num_settings(self.space) == math.inf:  # a Gaussian process may stay at an end of a range
            self.study.enqueue_trial(optuna.create_study(sampler=RandomSampler(len(tried))).ask(self.space).params)
        elif left:
            self.study.enqueue_trial(random.Random(len(tried)).choice(left))
        return self.study.ask(self.space)

    def drop(self, trial: Trial) -> None:
        """Leave a trial out of the budget."""
        trial.set_user_attr(INTERRUPTED, True)
        self.study.tell(trial, state=TrialState.FAIL)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.seconds[trial_id] = result.get("time_total_s")
        if REASON not in result:
            self.trials[trial_id].report(result[METRIC], result["epoch"])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        trial, result = self.trials.pop(trial_id), result or {}
        self.note_seconds(trial, result.get("time_total_s", self.seconds.get(trial_id)))
        if "node_ip" in result:
            trial.set_user_attr(NODE, result["node_ip"])
        if OTHER_CODE in result:
            self.ended = f"{result.get('node_ip', 'a worker')}: {result[REASON]}"
            self.drop(trial)
        elif TOO_SLOW in result:
            trial.set_user_attr(REASON, result[REASON])
            self.study.tell(trial, state=TrialState.PRUNED)
        elif error or REASON in result:
            trial.set_user_attr(REASON, result.get(REASON, "its worker died, or hung and was killed"))
            if not result.get(OF_SETTING):
                trial.set_user_attr(SURROUNDINGS, self.surroundings)
            self.study.tell(trial, state=TrialState.FAIL)
        elif METRIC not in result:
            self.drop(trial)
        elif trial_id in self.stopped:
            trial.report(result[METRIC], result["epoch"])  # Tune does not pass the last result on
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, result[METRIC])

    def note_seconds(self, trial: Trial, seconds: float | None) -> None:
        """Note how long a trial trained. The study's own times include its wait for a worker."""
        if seconds is not None:
            trial.set_user_attr(SECONDS, seconds)

    def end_by_budget(self) -> None:
        """Complete the trials that the time budget ended, of which Tune says nothing.

        Each counts with the best of its epochs, and is marked; without an epoch, it is no part of the budget.
        """
        reported = {trial.number: trial.intermediate_values for trial in self.study.get_trials(deepcopy=False)}
        for trial_id, trial in self.trials.items():
            self.note_seconds(trial, self.seconds.get(trial_id))
            if values := reported[trial.number]:
                trial.set_user_attr(ENDED_BY_BUDGET, True)
                self.study.tell(trial, min(values.values()))
            else:
                self.drop(trial)
        self.trials.clear()

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the study's journal has all that a search needs to go on."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: a search goes on with a new searcher on the same study."""
