"""The hyperparameter search: Ray Tune runs the trials, Optuna draws them and keeps their record in a journal.

The journal is what survives. A search that was cut off goes on by starting a new Tuner on the same study: trials that
were running are drawn again first, and only as many as are missing from the budget.
"""

import ast
import hashlib
import inspect
import json
import logging
import math
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import polars as pl
import torch
from filelock import FileLock, Timeout
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from models import layers, registry
from pipelines import metrics, optimizers, training
from pipelines.cell import Cell
from pipelines.params import Params, TuneParams
from pipelines.progress import TrialTable
from pipelines.ray_cluster import cluster, resources_per_run
from pipelines.seeds import seed_for
from pipelines.settings import Setting
from search_spaces import shared
from search_spaces.shared import Space

METRIC = "best_score"  # the validation metric of the best epoch so far, turned so that less is better
INTERRUPTED = "interrupted"  # marks the trials that a killed search left running: no part of the budget

optuna.logging.set_verbosity(optuna.logging.WARNING)


def fixed_setting(model: str, params: Params) -> dict[str, Any]:
    """The part of tune.fixed that concerns a model. Raises ValueError for a key that is in no search space."""
    known = {key for name in {model, *params.models} for key in shared.get_space(name)}
    for key in params.tune.fixed:
        if key not in known:
            raise ValueError(f"tune.fixed: {key!r} is in no search space; known: {', '.join(sorted(known))}")
    return {key: value for key, value in params.tune.fixed.items() if key in shared.get_space(model)}


def fingerprint(cell: Cell, space: Space, fixed: Setting) -> str:
    """Changes when anything does that decides a trial's result: data, params, space, seed, or code."""
    sources = (registry.get_model(cell.model), layers, training, optimizers, metrics)
    code = [ast.dump(ast.parse(Path(inspect.getfile(source)).read_text("utf-8"))) for source in sources]
    distributions = {key: repr(distribution) for key, distribution in space.items()}
    parts = (cell.root_seed, cell.digests, cell.training.model_dump(), distributions, dict(fixed), code)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def open_journal(path: Path) -> JournalStorage:
    """The journal of a cell; a last line that was cut off while it was written is dropped.

    The caller holds the cell's lock, so a lock file beside the journal is that of a killed search.
    """
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    path.touch()
    content = path.read_bytes()
    whole_lines = content[: content.rfind(b"\n") + 1]
    if whole_lines != content:
        logging.getLogger(__name__).warning("%s: dropped a last line that was cut off", path)
        path.write_bytes(whole_lines)
    return JournalStorage(JournalFileBackend(str(path)))


def requeue_interrupted(storage: JournalStorage, study: Study) -> None:
    """Trials that a killed search left running have failed, and their settings are drawn again first."""
    study_id = storage.get_study_id_from_name(study.study_name)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
        storage.set_trial_user_attr(trial_id, INTERRUPTED, True)
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)


def finished_trials(study: Study) -> list[FrozenTrial]:
    """The trials that count: those that ended well, and those that failed by themselves."""
    trials = study.get_trials(states=(TrialState.COMPLETE, TrialState.FAIL))
    return [trial for trial in trials if INTERRUPTED not in trial.user_attrs]


def budget_left(study: Study, budget: TuneParams) -> tuple[int, float | None]:
    """How many trials are still to start (−1: no bound), and for how many seconds (None: no bound).

    The time that counts is that in which at least one of the finished trials ran.
    """
    done = finished_trials(study)
    trials = max(0, budget.num_trials - len(done)) if budget.num_trials else -1
    if budget.time_budget_s is None:
        return trials, None
    seconds, covered = budget.time_budget_s, datetime.min
    for trial in sorted(done, key=lambda trial: trial.datetime_start or datetime.min):
        if trial.datetime_start and trial.datetime_complete:
            start = max(covered, trial.datetime_start)
            seconds -= max(0.0, (trial.datetime_complete - start).total_seconds())
            covered = max(covered, trial.datetime_complete)
    return (trials, seconds) if seconds > 0 else (0, 0.0)


def run_trial(drawn: dict[str, Any], cell: Cell, fixed: Setting, threads: int) -> None:
    """Train one setting, reporting after each epoch. Runs in a worker of Ray's."""
    torch.set_num_threads(threads)
    setting = {**fixed, **drawn}
    best = math.inf
    for epoch in cell.start(setting, "tune", json.dumps(setting, sort_keys=True))[1]:
        best = min(best, epoch.valid.score(cell.training.metric))
        tune.report({METRIC: best, "epoch": epoch.epoch})


def search(cell: Cell, family: str, params: Params, folder: Path) -> Study:
    """Search the hyperparameters of a cell until its budget is spent, going on from what `folder` holds.

    Raises ValueError when another search of the cell runs, when all trials fail (with the first reason), or for
    params that can't be served; OSError when the folder can't be written.
    """
    fixed = fixed_setting(cell.model, params)
    space = {key: value for key, value in shared.get_space(cell.model).items() if key not in fixed}
    if not space:
        raise ValueError(f"nothing to search for {cell.model}: tune.fixed has every key of its space")
    paper = shared.paper_setting(cell.model, family)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            storage = open_journal(folder / "journal.log")
            name = fingerprint(cell, space, fixed)
            study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
            requeue_interrupted(storage, study)
            study.enqueue_trial({key: paper[key] for key in space}, skip_if_exists=True)
            spend_budget(cell, space, fixed, params.tune, storage, study)
    except Timeout:
        raise ValueError(f"another search of {cell.model} on {cell.dataset} holds {folder / 'lock'}") from None
    return study


def spend_budget(
    cell: Cell, space: Space, fixed: Setting, budget: TuneParams, storage: JournalStorage, study: Study
) -> None:
    """Run the trials that are missing from the budget, in parallel as far as the cluster reaches."""
    done, first_error = finished_trials(study), None
    trials_left, seconds_left = budget_left(study, budget)
    if trials_left:
        with cluster() as there_is, tempfile.TemporaryDirectory(prefix="factorbench-") as scratch:
            resources = resources_per_run(budget.cpus_per_trial, budget.gpus_per_trial, there_is)
            sampler_seed = seed_for(cell.root_seed, "tune", cell.dataset, cell.model, "sampler", len(done))
            trainable = tune.with_parameters(run_trial, cell=cell, fixed=fixed, threads=budget.cpus_per_trial)
            best = min((trial.value for trial in done if trial.value is not None), default=None)
            results = tune.Tuner(
                tune.with_resources(trainable, resources),
                tune_config=tune.TuneConfig(
                    search_alg=OptunaSearch(
                        space=space,
                        metric=METRIC,
                        mode="min",
                        storage=storage,
                        study_name=study.study_name,
                        sampler=TPESampler(seed=sampler_seed),
                    ),
                    num_samples=trials_left,
                    time_budget_s=seconds_left,
                    metric=METRIC,
                    mode="min",
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    storage_path=scratch,
                    callbacks=[TrialTable(f"{cell.model} on {cell.dataset}", len(done), budget, best)],
                    verbose=0,
                ),
            ).fit()
            first_error = next(iter(results.errors), None)
    done = finished_trials(study)
    if not any(trial.state is TrialState.COMPLETE for trial in done):
        reason = str(first_error).strip().splitlines()[-1] if first_error else "see trials.csv"
        raise ValueError(f"all trials of {cell.model} on {cell.dataset} failed, the first with: {reason}")
    if budget.time_budget_s is None and len(done) < (budget.num_trials or 0):
        raise ValueError(f"the search of {cell.model} on {cell.dataset} ended early: run it again to go on")


def trials_table(study: Study) -> pl.DataFrame:
    """A row a finished trial: its number, state, validation metric, best epoch, epochs, seconds and setting."""
    rows = [
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            "valid": None if trial.value is None else abs(trial.value),
            "best_epoch": best_step(trial),
            "epochs": max(trial.intermediate_values, default=0),
            "seconds": round(trial.duration.total_seconds(), 2) if trial.duration else None,
            **trial.params,
        }
        for trial in finished_trials(study)
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def best_step(trial: FrozenTrial) -> int | None:
    """The first epoch whose value, the best so far, is the trial's."""
    steps = sorted(trial.intermediate_values)
    return next((step for step in steps if trial.intermediate_values[step] == trial.value), None)
