"""Let Ray Tune draw settings from an Optuna study, and record there how trials end."""

from typing import Any

from optuna.study import Study
from optuna.trial import Trial, TrialState
from ray.tune.search import Searcher

from pipelines.search.journal import ENDED_BY_BUDGET, INTERRUPTED, NODE, REASON
from pipelines.search.scheduling import METRIC
from search_spaces.shared import Space


class StudySearch(Searcher):
    """Ask a study for each trial's setting, and tell it the trial's epochs and end.

    A trial that a scheduler stopped is pruned at its last epoch, and not complete: Optuna's samplers must not mix the
    two. A trial that the time budget ended is complete with the best of its epochs, and marked; without an epoch, it is
    no part of the budget.
    """

    def __init__(self, study: Study, space: Space) -> None:
        super().__init__(metric=METRIC, mode="min")
        self.study, self.space = study, space
        self.trials: dict[str, Trial] = {}
        self.stopped: set[str] = set()  # the trials that the scheduler has stopped

    def suggest(self, trial_id: str) -> dict[str, Any]:
        self.trials[trial_id] = self.study.ask(self.space)
        return self.trials[trial_id].params

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if REASON not in result:
            self.trials[trial_id].report(result[METRIC], result["epoch"])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        trial, result = self.trials.pop(trial_id), result or {}
        if "node_ip" in result:
            trial.set_user_attr(NODE, result["node_ip"])
        if error or REASON in result:
            trial.set_user_attr(REASON, result.get(REASON, "its worker died, or hung and was killed"))
            self.study.tell(trial, state=TrialState.FAIL)
        elif METRIC not in result:
            trial.set_user_attr(INTERRUPTED, True)
            self.study.tell(trial, state=TrialState.FAIL)
        elif trial_id in self.stopped:
            trial.report(result[METRIC], result["epoch"])  # Tune does not pass the last result on
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            if not result["done"]:
                trial.set_user_attr(ENDED_BY_BUDGET, True)
            self.study.tell(trial, result[METRIC])

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the study's journal has all that a search needs to go on."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: a search goes on with a new searcher on the same study."""
