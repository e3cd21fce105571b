"""Compute the behaviour of the stages on fixed inputs: preparing, searching and evaluating (see `pipelines.golden`)."""

import math
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import optuna
import polars as pl
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from pipelines import final_runs, golden, search
from pipelines.catalog import DATASETS
from pipelines.cell import Cell
from pipelines.golden import SEED, TRAINING
from pipelines.golden_files import Figures
from pipelines.metric import METRICS
from pipelines.metrics import on_resamples
from pipelines.params import Params, TuneParams
from pipelines.paths import Paths
from pipelines.prepare import prepare
from pipelines.study import budget_left
from search_spaces.shared import Space

SPACE: Space = {
    "training.learning_rate": FloatDistribution(1e-3, 1.0, log=True),
    "model.dropout": FloatDistribution(0.0, 0.9),
    "model.embed_dim": CategoricalDistribution((8, 64, 256)),
    "model.field_embed_dim": IntDistribution(4, 64, log=True),
}
SETTING = {"training.learning_rate": 0.1, "model.dropout": 0.3, "model.embed_dim": 64, "model.field_embed_dim": 26}


def behaviours() -> dict[str, Callable[[], Figures]]:
    """What computes each golden file, by its name."""
    stages = {"prepare": prepare_behaviour, "search": search_behaviour, "evaluate": evaluate_behaviour}
    return {**golden.behaviours(), **stages}


def cell() -> Cell:
    """A cell that is not trained, so that its model and optimizer decide nothing here."""
    split = golden.splits()["few features"]
    return Cell("model", "dataset", split.schema, {}, "", split.train, split.valid, TRAINING, None, SEED)


def prepare_behaviour() -> Figures:
    """What `prepare` makes of a log of 60 lines: ids, negatives and splits."""
    dataset, rng = DATASETS["synthetic"], np.random.default_rng(SEED)
    log = pl.DataFrame({field: rng.integers(9, size=60) for field in dataset.fields}).unique(maintain_order=True)
    params = Params(seed=SEED, datasets=[], models=[], tune=TuneParams(num_trials=1))
    with tempfile.TemporaryDirectory(prefix="factorbench-") as folder:
        paths = Paths(Path(folder))
        paths.raw(dataset.name).mkdir(parents=True)
        log.write_csv(paths.raw(dataset.name) / "log.csv")
        schema = prepare(dataset, params, paths)
        files = {split: paths.processed(dataset.name) / f"{split}.parquet" for split in schema["values"]}
        rows = {split: pl.read_parquet(file).head(5).rows() for split, file in files.items()}
    return {"schema": schema, "rows": rows}


def search_behaviour() -> Figures:
    """What the sampler draws for a fixed objective, what schedulers stop, what is left of budgets, a trial's seed."""
    return {
        "draws": {f"after {drawn} trials": draws(drawn) for drawn in (0, 7)},
        "stopped": {name: stopped(name) for name in ("none", "asha", "median")},
        "budget_left": {str(done): budget_left(study_of(done), TuneParams(num_trials=5)) for done in (0, 3, 9)},
        "trial_seed": search.trial_seed(cell(), SETTING),
    }


def draws(drawn: int) -> list[dict[str, Any]]:
    """Fourteen settings, drawn by a search that goes on after `drawn` trials."""
    study = optuna.create_study(sampler=search.make_sampler(cell(), drawn))
    search.enqueue_first(study, SPACE, SETTING)
    for _ in range(14):
        trial = study.ask(SPACE)
        study.tell(trial, math.log(trial.params["training.learning_rate"]) ** 2 + trial.params["model.dropout"])
    return [trial.params for trial in study.trials]


class Reporting(NamedTuple):
    """What schedulers know of a trial."""

    trial_id: str


def stopped(scheduler: str) -> dict[str, int]:
    """The epoch in which a scheduler stops each of nine trials that report side by side."""
    names: set[str] = set()
    asked = search.scheduler(scheduler, 27, names)
    asked.set_search_properties(search.METRIC, "min")
    trials: Any = [Reporting(str(number)) for number in range(9)]
    controller: Any = SimpleNamespace(get_live_trials=list)
    rng, ended = np.random.default_rng(SEED), {}
    level = rng.uniform(0.3, 0.5, size=9)
    for trial in trials:
        asked.on_trial_add(controller, trial)
    for epoch in range(1, 28):
        for trial in [trial for trial in trials if trial.trial_id not in ended]:
            score = level[int(trial.trial_id)] + 1 / (epoch + 1)
            asked.on_trial_result(controller, trial, {search.METRIC: score, "epoch": epoch})
            if trial.trial_id in names:
                ended[trial.trial_id] = epoch
    return ended


def study_of(done: int) -> optuna.Study:
    """A study with as many trials, of which one was stopped and one failed."""
    study = optuna.create_study()
    states = [TrialState.PRUNED, TrialState.FAIL, *[TrialState.COMPLETE] * 9][:done]
    study.add_trials([create_trial(state=state, value=None if state is TrialState.FAIL else 0.5) for state in states])
    return study


def evaluate_behaviour() -> Figures:
    """The seeds of final runs, metrics of fixed logits on resamples, and which epoch's figures count."""
    rows, rng = golden.splits()["few features"].valid, np.random.default_rng(SEED)
    logits = rows.labels * torch.tensor(rng.random(len(rows))) - torch.tensor(rng.random(len(rows))).round(decimals=1)
    seed = final_runs.resamples_seed(cell())
    resampled = {
        metric: on_resamples(metric, logits, rows.labels, "squared_error", seed, final_runs.NUM_RESAMPLES)
        for metric in METRICS
    }
    epochs = [{"epoch": n, "seconds": n, "valid_rmse": abs(n - 2.5), "valid_auc": abs(n - 1.5)} for n in (1, 2, 3)]
    run = {"test": {"test_rmse": 0.5}, "epochs": epochs}
    return {
        "seeds": [final_runs.final_seed(cell(), number) for number in range(3)],
        "resamples": {
            metric: [*figures[:5], statistics.fmean(figures), len(figures)] for metric, figures in resampled.items()
        },
        "seed_figures": {metric: final_runs.seed_figures(run, metric) for metric in ("rmse", "auc")},
    }
