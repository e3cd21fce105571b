"""Search hyperparameters: Ray Tune runs the trials, Optuna draws them, and `pipelines.search.journal` keeps the record.

A search that was cut off goes on by starting a new Tuner on the same study: trials that were running are drawn again
first, and only as many as are missing from the budget.
"""

import contextlib
import json
import logging
import math
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import ray
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.study import Study
from optuna.trial import TrialState
from ray import tune
from ray.tune import TuneError
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from pipelines.project.cluster import cluster, last_line, resources_per_run
from pipelines.project.files import locked
from pipelines.project.metric import METRICS
from pipelines.project.params import Params, TuneParams
from pipelines.project.settings import Setting
from pipelines.search.journal import (
    NODE,
    REASON,
    SECONDS,
    budget_left,
    ended_trials,
    finished_trials,
    open_journal,
    requeue_interrupted,
)
from pipelines.search.progress import TrialTable
from pipelines.search.scheduling import METRIC, scheduler
from pipelines.training.cell import Cell, fingerprint
from pipelines.training.process import prepare_process
from search_spaces import shared
from search_spaces.shared import Space


def search(cell: Cell, family: str, params: Params, folder: Path) -> Study:
    """Search the hyperparameters of a cell until its budget is spent, going on from what `folder` holds.

    Raises ValueError when another search of the cell runs, when no trial ends well (with the first reason), or for
    params that can't be served; OSError when the folder can't be written.
    """
    max_epochs = params.tune.max_epochs or cell.training.max_epochs
    cell = replace(cell, training=cell.training.model_copy(update={"max_epochs": max_epochs}))
    fixed = fixed_setting(cell.model, params)
    space = {key: value for key, value in shared.get_space(cell.model).items() if key not in fixed}
    if not space:
        raise ValueError(f"nothing to search for {cell.model}: tune.fixed has every key of its space")
    paper = shared.paper_setting(cell.model, family)
    with locked(folder, f"{cell.model} on {cell.dataset}"), named_errors(folder / "journal.log") as journal:
        storage = open_journal(journal)
        scheduled = {} if params.tune.scheduler == "none" else {"tune.scheduler": params.tune.scheduler}
        name = fingerprint(cell, space, {**fixed, **scheduled})
        study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
        requeue_interrupted(storage, study)
        enqueue_first(study, space, paper)
        spend_budget(cell, space, fixed, params.tune, storage, study)
    check_result(cell, params.tune, study)
    return study


def enqueue_first(study: Study, space: Space, paper: Setting) -> None:
    """Make the paper's setting the first trial of a study that has none."""
    study.enqueue_trial({key: paper[key] for key in space}, skip_if_exists=True)


def fixed_setting(model: str, params: Params) -> dict[str, Any]:
    """The part of tune.fixed that concerns a model. Raises ValueError for a key that is in no search space."""
    known = {key for name in {model, *params.models} for key in shared.get_space(name)}
    for key in params.tune.fixed:
        if key not in known:
            raise ValueError(f"tune.fixed: {key!r} is in no search space; known: {', '.join(sorted(known))}")
    return {key: value for key, value in params.tune.fixed.items() if key in shared.get_space(model)}


def spend_budget(
    cell: Cell, space: Space, fixed: Setting, budget: TuneParams, storage: JournalStorage, study: Study
) -> None:
    """Run the trials that are missing from the budget, in parallel as far as the cluster reaches."""
    trials_left, seconds_left = budget_left(study, budget)
    if not trials_left:
        return
    done, start = finished_trials(study), time.monotonic()
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # it prints a traceback of a worker that died
    best = min((trial.value for trial in done if trial.value is not None), default=None)
    shown = TrialTable(
        f"{cell.model} on {cell.dataset}",
        METRICS[cell.training.metric],
        len(done),
        budget.num_trials,
        seconds_left,
        best,
    )
    drawn = len(ended_trials(study))  # with those that a killed search left running, so that none is drawn twice
    with cluster() as there_is, tempfile.TemporaryDirectory(prefix="factorbench-") as scratch:
        resources = resources_per_run(budget.cpus_per_trial, budget.gpus_per_trial, there_is)
        trainable = tune.with_parameters(run_trial, cell=cell, fixed=fixed, budget=budget)
        sampler = make_sampler(cell, drawn)
        searcher = StudySearch(
            space=space, metric=METRIC, mode="min", storage=storage, study_name=study.study_name, sampler=sampler
        )
        algorithm: Any = searcher
        if budget.deterministic:
            at_once = max(1, int(there_is["CPU"] // budget.cpus_per_trial))
            algorithm = ConcurrencyLimiter(searcher, max_concurrent=at_once, batch=True)
        tuner = tune.Tuner(
            tune.with_resources(trainable, resources),
            tune_config=tune.TuneConfig(
                search_alg=algorithm,
                scheduler=scheduler(budget.scheduler, cell.training.max_epochs, searcher.stopped),
                num_samples=trials_left,
                time_budget_s=seconds_left,
                metric=METRIC,
                mode="min",
                # NOTE: Ray 2.60 gives a trial up, whatever max_failures is, if the worker that it is handed to has died
                # unseen. So only trials of one machine share workers, which saves a second each.
                reuse_actors=len(ray.nodes()) == 1,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                failure_config=tune.FailureConfig(max_failures=budget.max_failures),
                callbacks=[shown],
                verbose=0,
            ),
        )
        tuner.fit()
        study.set_user_attr(SECONDS, study.user_attrs.get(SECONDS, 0.0) + time.monotonic() - start)


def make_sampler(cell: Cell, drawn: int) -> TPESampler:
    """The sampler of a search, or of the rest of one that was cut off after `drawn` trials."""
    return TPESampler(seed=cell.seed("tune", "sampler", drawn))


@contextlib.contextmanager
def named_errors(path: Path) -> Iterator[Path]:
    """Errors of writing a file say which it is, and come as they are also through Tune."""
    try:
        yield path
    except (OSError, TuneError) as error:
        below: BaseException | None = error
        while below and not isinstance(below, OSError):
            below = below.__context__
        if below is None:
            raise
        raise OSError(below.errno, below.strerror, below.filename or str(path)) from error


class StudySearch(OptunaSearch):
    """Tells the study on which machine each trial ran, of each that failed why it did, and which a scheduler stopped:
    those count as pruned at their last epoch, not as complete, as Optuna's samplers must not mix the two."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.stopped: set[str] = set()

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if REASON not in result:
            super().on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        reason = (result or {}).get(REASON)
        if result:
            self._ot_trials[trial_id].set_user_attr(NODE, result["node_ip"])
        if reason or error:
            self._ot_trials[trial_id].set_user_attr(REASON, reason or "its worker died, or hung and was killed")
            result, error = None, True
        elif result and trial_id in self.stopped:
            self.on_trial_result(trial_id, result)  # Tune leaves the last one out
            result = None
        super().on_trial_complete(trial_id, result, error)


def run_trial(drawn: dict[str, Any], cell: Cell, fixed: Setting, budget: TuneParams) -> None:
    """Train one setting, reporting after each epoch, and the reason if that fails. Runs in a worker of Ray's."""
    prepare_process(budget.cpus_per_trial)
    setting = {**fixed, **drawn}
    best, last, limit, start = math.inf, 0, budget.trial_timeout_s, time.monotonic()
    hangs = threading.Timer(2 * (limit or 0), os._exit, [1])
    if limit:
        hangs.start()
    try:
        for epoch in cell.start(setting, trial_seed(cell, setting))[1]:
            best, last = min(best, epoch.valid.score(cell.training.metric)), epoch.epoch
            tune.report({METRIC: best, "epoch": last})
            if limit and time.monotonic() - start > limit:
                raise TimeoutError(f"it took longer than tune.trial_timeout_s, {limit:g} s")
    except Exception as error:  # raised again, it would be tried again
        tune.report({METRIC: math.inf, "epoch": last, REASON: f"{type(error).__name__}: {last_line(error)}"})
    finally:
        hangs.cancel()


def trial_seed(cell: Cell, setting: Setting) -> int:
    """The seed of a trial, which its setting alone decides."""
    return cell.seed("tune", json.dumps(setting, sort_keys=True))


def check_result(cell: Cell, budget: TuneParams, study: Study) -> None:
    """Raises ValueError for a search without a trial that ended well, or with fewer trials than its budget."""
    done, name = finished_trials(study), f"{cell.model} on {cell.dataset}"
    if not any(trial.state is TrialState.COMPLETE for trial in done):
        if any(trial.state is TrialState.PRUNED for trial in done):
            raise ValueError(f"tune.scheduler stopped all trials of {name} that did not fail: give it a larger budget")
        if done:
            reason = next(
                (trial.user_attrs[REASON] for trial in done if REASON in trial.user_attrs),
                "a reason that was lost with its search",
            )
            raise ValueError(f"all trials of {name} failed, the first with: {reason}")
        raise ValueError(f"no trial of {name} finished an epoch in tune.time_budget_s, {budget.time_budget_s} s")
    if budget.time_budget_s is None and len(done) < (budget.num_trials or 0):
        raise ValueError(f"the search of {name} ended early: run it again to go on")
