"""Keep the record of a search: an Optuna study in a journal, which survives a kill."""

import json
import logging
import os
from collections.abc import Generator
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import polars as pl
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from pipelines.project.metric import Metric
from pipelines.project.params import TuneParams

# Attributes of the study and of its trials.
SECONDS = "seconds"  # of a study: how long its searches have run; of a trial: how long it has trained
INTERRUPTED = "interrupted"  # a search ended before the trial had an epoch, or was killed: no part of the budget
ENDED_BY_BUDGET = "ended_by_budget"  # the trial counts with the epochs that it had when the time budget was spent
REASON = "reason"  # why the trial failed
SURROUNDINGS = "surroundings"  # of a failure that is not its setting's: params, machine, versions
TRIED_AGAIN = "tried_again"  # of the study: the numbers of failed trials whose settings were queued again
NODE = "node"  # the address of the machine that ran the trial

optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_journal(path: Path) -> JournalStorage:
    """Open a cell's journal, without a last line that a kill has cut off.

    The caller must hold the cell's lock: a killed search may have left a lock file, which is removed.
    """
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    path.touch()
    content = path.read_bytes()
    whole_lines = content[: content.rfind(b"\n") + 1]
    if whole_lines != content:
        logging.getLogger(__name__).warning("%s: dropped a last line that was cut off", path)
        os.truncate(path, len(whole_lines))
    return read_journal(path)


class Lines(JournalFileBackend):
    """Read a journal's lines, and know the number of the last one that was read."""

    number = 0

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        for self.number, entry in enumerate(super().read_logs(log_number_from), log_number_from + 1):
            yield entry


def read_journal(path: Path) -> JournalStorage:
    """Open a journal without changing it. Raises ValueError with file and line for a damaged one, and OSError."""
    lines = Lines(str(path))
    try:
        with path.open("rb") as content:
            for lines.number, line in enumerate(content, 1):
                if line.endswith(b"\n"):  # else a search is writing it, or a kill has cut it off
                    json.loads(line)
        return JournalStorage(lines)
    except OSError:
        raise
    except Exception as error:  # of many types, as Optuna checks no entry
        raise ValueError(
            f"{path}:{lines.number}: the line is damaged; keep only the lines before it (head -n {lines.number - 1}) "
            "to go on from there, or delete the file to search anew"
        ) from error


def requeue_interrupted(storage: JournalStorage, study: Study) -> None:
    """Mark a killed search's running trials as failed, and queue their settings."""
    study_id = storage.get_study_id_from_name(study.study_name)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
        storage.set_trial_user_attr(trial_id, INTERRUPTED, True)
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)


def requeue_failed(study: Study, surroundings: dict[str, Any], all_failed: bool = False) -> None:
    """Queue failed trials again whose cause may be gone; with `all_failed`, any failed trial.

    The cause may be gone where a trial failed in other surroundings, and not for its setting.
    """
    again = [
        trial
        for trial in finished_trials(study)
        if trial.state is TrialState.FAIL
        and (all_failed or trial.user_attrs.get(SURROUNDINGS, surroundings) != surroundings)
    ]
    for trial in again:
        study.enqueue_trial(trial.params)
    if again:
        numbers = [*study.user_attrs.get(TRIED_AGAIN, []), *(trial.number for trial in again)]
        study.set_user_attr(TRIED_AGAIN, numbers)


def ended_trials(study: Study) -> list[FrozenTrial]:
    """Return the trials that are over, also those that a kill has ended."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))


def finished_trials(study: Study) -> list[FrozenTrial]:
    """Return the trials that are part of the budget: complete, stopped or failed."""
    again = study.user_attrs.get(TRIED_AGAIN, [])
    return [trial for trial in ended_trials(study) if INTERRUPTED not in trial.user_attrs and trial.number not in again]


def counted_trials(study: Study, budget: TuneParams) -> list[FrozenTrial]:
    """Return the first `num_trials` of the finished trials. A study may have more, of a larger budget."""
    return sorted(finished_trials(study), key=lambda trial: trial.number)[: budget.num_trials]


def best_of(trials: list[FrozenTrial]) -> tuple[FrozenTrial, float]:
    """Find the complete trial with the least score. Returns the trial and the score."""
    complete = [(trial, trial.value) for trial in trials if trial.state is TrialState.COMPLETE]
    return min(((trial, value) for trial, value in complete if value is not None), key=lambda found: found[1])


def reasons_of_surroundings(trials: list[FrozenTrial]) -> list[str]:
    """Return the reasons of trials that failed, but not for their setting."""
    return [trial.user_attrs[REASON] for trial in trials if SURROUNDINGS in trial.user_attrs]


def tried_settings(study: Study) -> list[dict[str, Any]]:
    """Return the settings of all trials that are part of the budget, or that run."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [trial.params for trial in (*finished_trials(study), *running)]


def budget_left(study: Study, budget: TuneParams) -> tuple[int, float | None]:
    """Compute how many trials (−1: any number) and seconds (None: any number) are left."""
    trials = max(0, budget.num_trials - len(finished_trials(study))) if budget.num_trials else -1
    if budget.time_budget_s is None:
        return trials, None
    spent = max(study.user_attrs.get(SECONDS, 0.0), seconds_of_trials(finished_trials(study)))
    left = budget.time_budget_s - spent
    return (trials, left) if left > 0 else (0, 0.0)


def seconds_of_trials(trials: list[FrozenTrial]) -> float:
    """Sum the time in which at least one trial ran."""
    seconds, covered = 0.0, datetime.min
    for trial in sorted(trials, key=lambda trial: trial.datetime_start or datetime.min):
        if trial.datetime_start and trial.datetime_complete:
            start = max(covered, trial.datetime_start)
            seconds += max(0.0, (trial.datetime_complete - start).total_seconds())
            covered = max(covered, trial.datetime_complete)
    return seconds


def trials_table(trials: list[FrozenTrial], metric: Metric) -> pl.DataFrame:
    """Return one row for each trial, with its setting and what it reached."""
    rows = [
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            "valid": None if trial.value is None else metric.score(trial.value),
            "best_epoch": best_step(trial),
            "epochs": max(trial.intermediate_values, default=0),
            "seconds": seconds_of(trial),
            **trial.params,
            REASON: "ended by tune.time_budget_s"
            if ENDED_BY_BUDGET in trial.user_attrs
            else trial.user_attrs.get(REASON),
        }
        for trial in trials
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def seconds_of(trial: FrozenTrial) -> float | None:
    """Return how long a trial trained. Of trials from before this was noted, it includes the wait for a worker."""
    waited = trial.duration.total_seconds() if trial.duration else None
    seconds = trial.user_attrs.get(SECONDS, waited)
    return None if seconds is None else round(seconds, 2)


def best_step(trial: FrozenTrial) -> int | None:
    """Find the first epoch that reached the trial's value."""
    steps = sorted(trial.intermediate_values)
    return next((step for step in steps if trial.intermediate_values[step] == trial.value), None)
