"""Search the hyperparameters of a cell: Ray Tune runs trials, and Optuna draws them.

The study in `pipelines.search.journal` keeps the record. A search that was cut off goes on with a new Tuner on the same
study: it first repeats the trials that were running, then runs the trials that are missing from the budget.
"""

import contextlib
import logging
import math
import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import ray
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from ray import tune
from ray.tune import TuneError
from ray.tune.search import ConcurrencyLimiter

from pipelines.project import code
from pipelines.project.cluster import cluster, resources_per_run
from pipelines.project.files import locked
from pipelines.project.metric import METRICS
from pipelines.project.params import Params, TuneParams
from pipelines.project.provenance import versions
from pipelines.project.records import command
from pipelines.project.seeds import seed_for
from pipelines.project.settings import RECIPE, RECIPES, Setting, resolve
from pipelines.search.journal import (
    REASON,
    SECONDS,
    budget_left,
    counted_trials,
    ended_trials,
    finished_trials,
    open_journal,
    reasons_of_surroundings,
    requeue_failed,
    requeue_interrupted,
    tried_settings,
)
from pipelines.search.progress import TrialTable
from pipelines.search.recipes import distinct, with_recipes
from pipelines.search.sampling import make_sampler
from pipelines.search.scheduling import METRIC, TimeBudget, scheduler
from pipelines.search.spaces import check_space, fixed_setting, num_settings
from pipelines.search.study_search import StudySearch
from pipelines.search.trial import run_trial
from pipelines.training.behaviour import behaviour_of
from pipelines.training.cell import Cell, fingerprint
from search_spaces import shared
from search_spaces.shared import Space


def search(cell: Cell, family: str, params: Params, folder: Path, retry: bool = False, number: int = 0) -> Study:
    """Search the hyperparameters of a cell until its budget is spent.

    Searches with another `number` have a study and seeds of their own. Goes on with the study in `folder`, if there is
    one; with `retry`, its failed trials run again. Raises ValueError when another search of the cell runs, when no
    trial ends well (with the first reason), when the code is edited meanwhile, or for params that can't be served;
    OSError when the folder can't be written.
    """
    if number:
        cell = replace(cell, root_seed=seed_for(cell.root_seed, "tune", "search", number))
    max_epochs = params.tune.max_epochs or cell.training.max_epochs
    cell = replace(cell, training=cell.training.model_copy(update={"max_epochs": max_epochs}))
    rows = {}
    if (most := params.tune.max_rows) and most < len(cell.train_rows):
        seed = seed_for(cell.root_seed, "tune", "rows", cell.dataset)  # for all models the same rows
        cell, rows = replace(cell, train_rows=cell.train_rows.sample(most, seed)), {"tune.max_rows": most}
    fixed = fixed_setting(cell.model, params)
    space = {key: value for key, value in shared.get_space(cell.model).items() if key not in fixed}
    if not space:
        raise ValueError(f"nothing to search for {cell.model}: tune.fixed has every key of its space")
    known = shared.known_settings(cell.model, family, params.tune.known)
    space, first = with_recipes(space, cell.model, family, params.tune.recipes, fixed)
    first += [{**first[0], **setting} for name, setting in known.items() if name != shared.PAPER]
    check_space(cell, space, fixed, *first)
    first = distinct(first, cell.model, fixed, cell.training)
    with locked(folder, f"{cell.model} on {cell.dataset}"), named_errors(folder / "journal.log") as journal:
        storage = open_journal(journal)
        name = fingerprint(cell, space, {**fixed, **chosen(params.tune), **rows, **recipes_of(cell, params)})
        study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
        requeue_interrupted(storage, study)
        requeue_failed(study, surroundings(params.tune), retry)
        known = enqueue_first(study, space, *first)
        spend_budget(cell, space, fixed, params.tune, study, known)
    check_result(cell, params.tune, study, num_settings(space))
    return study


def recipes_of(cell: Cell, params: Params) -> dict[str, Any]:
    """Describe the recipes of a search, unless there is only the paper's."""
    if params.tune.recipes == ["paper"]:
        return {}
    trainings = {recipe: resolve({RECIPE: recipe}, cell.training)[1] for recipe in params.tune.recipes}
    return {
        f"tune.recipes {recipe}": [RECIPES[recipe], behaviour_of(cell.model, trainings[recipe])] for recipe in trainings
    }


def surroundings(budget: TuneParams) -> dict[str, Any]:
    """Describe what may make a trial fail beside its setting."""
    limits = budget.model_dump(include={"trial_timeout_s", "max_failures", "cpus_per_trial", "gpus_per_trial"})
    return {
        **limits,
        "cluster": os.environ.get("RAY_ADDRESS") or socket.gethostname(),
        "cpus": os.cpu_count(),
        "memory_gib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30,
        "versions": versions(),
        "code": code.digest(code.at_start()),
    }


def chosen(budget: TuneParams) -> dict[str, Any]:
    """Return the keys that decide about draws and stops, except defaults."""
    keys = ("known", "sampler", "random_trials", "scheduler", "grace_epochs", "trial_share")
    defaults = {key: TuneParams.model_fields[key].default for key in keys}
    return {f"tune.{key}": getattr(budget, key) for key in keys if getattr(budget, key) != defaults[key]}


def enqueue_first(study: Study, space: Space, *first: Setting) -> list[dict[str, Any]]:
    """Make settings the first trials of a new study. Returns those that no scheduler may stop."""
    known = [{key: setting[key] for key in space} for setting in first]
    for setting in known:
        study.enqueue_trial(setting, skip_if_exists=True)
    return known


def sampler_after(drawn: int, cell: Cell, budget: TuneParams) -> BaseSampler:
    """Make the sampler of a search that has drawn so many settings."""
    return make_sampler(budget, cell.seed("tune", "sampler", drawn))


def spend_budget(
    cell: Cell, space: Space, fixed: Setting, budget: TuneParams, study: Study, known: list[dict[str, Any]]
) -> None:
    """Run the trials that are missing from the budget, in parallel."""
    trials_left, seconds_left = budget_left(study, budget)
    untried = num_settings(space) - len(tried_settings(study))
    if untried < math.inf:
        trials_left = max(0, min(int(untried), trials_left if trials_left >= 0 else int(untried)))
    if not trials_left:
        return
    done = finished_trials(study)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # it prints a traceback of a worker that died
    drawn = len(ended_trials(study))  # interrupted trials too: draw none twice
    study.sampler = sampler_after(drawn, cell, budget)
    searcher = StudySearch(study, space, known, surroundings(budget))
    with cluster() as there_is, tempfile.TemporaryDirectory(prefix="factorbench-") as scratch:
        clock = TimeBudget(seconds_left)
        progress = TrialTable(
            f"{cell.model} on {cell.dataset}",
            METRICS[cell.training.metric],
            len(done),
            budget.num_trials,
            seconds_left,
            best=min((trial.value for trial in done if trial.value is not None), default=None),
        )
        resources = resources_per_run(budget.cpus_per_trial, budget.gpus_per_trial, there_is)
        running = code.digest(code.at_start())
        trainable = tune.with_parameters(run_trial, cell=cell, fixed=fixed, known=known, budget=budget, running=running)
        algorithm: Any = searcher
        if budget.deterministic:
            at_once = max(1, int(there_is["CPU"] // budget.cpus_per_trial))
            algorithm = ConcurrencyLimiter(searcher, max_concurrent=at_once, batch=True)
        tuner = tune.Tuner(
            tune.with_resources(trainable, resources),
            tune_config=tune.TuneConfig(
                search_alg=algorithm,
                scheduler=scheduler(
                    budget.scheduler,
                    cell.training.max_epochs,
                    searcher.stopped,
                    searcher.kept,
                    budget.grace_epochs,
                ),
                num_samples=trials_left,
                metric=METRIC,
                mode="min",
                # NOTE: Ray 2.60 gives a trial up, whatever max_failures is, if the worker that it is handed to has died
                # unseen. So only trials of one machine share workers, which saves a second each.
                reuse_actors=len(ray.nodes()) == 1,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                failure_config=tune.FailureConfig(max_failures=budget.max_failures),
                stop=clock,
                callbacks=[progress, clock],
                verbose=0,
            ),
        )
        tuner.fit()
        if seconds_left is not None:
            searcher.end_by_budget()
        study.set_user_attr(SECONDS, study.user_attrs.get(SECONDS, 0.0) + clock.spent())
    if searcher.ended:
        raise ValueError(searcher.ended)


@contextlib.contextmanager
def named_errors(path: Path) -> Iterator[Path]:
    """Turn an error of writing a file, also within Tune's, into a named OSError."""
    try:
        yield path
    except (OSError, TuneError) as error:
        below: BaseException | None = error
        while below and not isinstance(below, OSError):
            below = below.__context__
        if below is None:
            raise
        reason = below.strerror or " ".join(str(below).split()) or type(below).__name__
        raise OSError(below.errno, reason, below.filename or str(path)) from error


def check_result(cell: Cell, budget: TuneParams, study: Study, num_settings: float = math.inf) -> None:
    """Raise ValueError for a search without a complete trial, or with a trial missing."""
    done, name = counted_trials(study, budget), f"{cell.model} on {cell.dataset}"
    if not any(trial.state is TrialState.COMPLETE for trial in done):
        if any(trial.state is TrialState.PRUNED for trial in done):
            raise ValueError(f"tune.scheduler stopped all trials of {name} that did not fail: give it a larger budget")
        if done:
            again = f"; run {command('tune', cell.model, cell.dataset)} --retry to try them again"
            hint = again if reasons_of_surroundings(done) else ""
            raise ValueError(f"all trials of {name} failed, the first with: {first_reason(done)}{hint}")
        raise ValueError(
            f"no trial of {name} finished an epoch in tune.time_budget_s, {budget.time_budget_s} s: raise it"
        )
    if budget.time_budget_s is None and len(done) < min(budget.num_trials or 0, num_settings):
        raise ValueError(f"the search of {name} ended early: run it again to go on")


def first_reason(trials: list[FrozenTrial]) -> str:
    """Return why the first of the failed trials failed."""
    reasons = (trial.user_attrs[REASON] for trial in trials if REASON in trial.user_attrs)
    return next(reasons, "a reason that was lost with its search")
