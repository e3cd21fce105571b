"""Measure how long a setting trains, to leave out what is too slow."""

from dataclasses import replace
from pathlib import Path

import torch

from models.registry import get_model, is_by_gradient
from pipelines.project.params import TuneParams, load_params
from pipelines.project.paths import Paths
from pipelines.project.settings import Setting, resolve
from pipelines.search.spaces import fixed_setting
from pipelines.training.cell import Cell, load_cell
from pipelines.training.process import prepare_process

STEPS, EPOCHS = 2, 2  # of an estimate; in the first epoch, a process does what it does once
LEAST_STEPS = 10  # of an epoch whose time is estimated
VALID_ROWS = 256
TIMES = 2  # as slow as the paper's setting is never too slow


def too_slow(cell: Cell, setting: Setting, paper: Setting, budget: TuneParams) -> str:
    """Say why a setting is too slow for the time of its search; nothing if it is not.

    It is where its epochs would take more than `tune.trial_share` of `tune.time_budget_s`, and more than twice as long
    as those of the paper's setting. Models without gradients have no such settings.
    """
    if not (budget.time_budget_s and budget.trial_share) or budget.deterministic:
        return ""
    if not is_by_gradient(get_model(cell.model)):
        return ""
    allowed, seconds = budget.trial_share * budget.time_budget_s, most_seconds(cell, setting)
    if seconds <= allowed or seconds <= TIMES * most_seconds(cell, paper):
        return ""
    return f"training might take {seconds:.0f} s, too long for tune.time_budget_s, {budget.time_budget_s:g} s"


def most_seconds(cell: Cell, setting: Setting) -> float:
    """Estimate the seconds of the most epochs of a training by a few steps; 0 where an epoch has few."""
    training = resolve(setting, cell.training)[1]
    drawn = STEPS * training.batch_size
    if len(cell.train_rows) < LEAST_STEPS * training.batch_size:
        return 0.0
    few = replace(cell, train_rows=cell.train_rows.sample(drawn, 0), valid_rows=cell.valid_rows.sample(VALID_ROWS, 0))
    short = {"training.max_epochs": EPOCHS, "training.metric": "rmse"}  # which any rows have
    *_, last = few.train({**setting, **short}, seed=0)[1]
    return last.seconds * len(cell.train_rows) / drawn * training.max_epochs


def epoch_of_fm(dataset: str, params: Path, paths: Paths) -> float:
    """Time one epoch of fm on one thread, in seconds."""
    threads = torch.get_num_threads()
    prepare_process(1)
    config = load_params(params)
    try:
        setting = {**fixed_setting("fm", config), "training.max_epochs": 1}
        (epoch,) = load_cell("fm", dataset, config, paths).train(setting, seed=0)[1]
    finally:
        torch.set_num_threads(threads)  # for a notebook, in which this runs
    return epoch.seconds
