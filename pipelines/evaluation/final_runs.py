"""The final runs of a cell: its best setting, trained with several seeds, each tested once.

The metric of `training` is also taken on resamples of the test rows, drawn with replacement. They are the same for all
models of a data set: two models can be compared row by row without their predictions (`pipelines.significance`).
"""

import json
import logging
import statistics
from pathlib import Path
from typing import Any

import polars as pl
import ray
from ray.exceptions import RayError
from rich.console import Console
from rich.progress import track

from pipelines.data.rows import Rows
from pipelines.project.cluster import cluster, last_line, resources_per_run
from pipelines.project.files import locked, write_json
from pipelines.project.metric import METRICS
from pipelines.project.params import Params
from pipelines.project.provenance import made_by
from pipelines.project.seeds import seed_for
from pipelines.project.settings import Setting, resolve
from pipelines.training import loop, start
from pipelines.training.cell import Cell, fingerprint
from pipelines.training.metrics import compute_metrics, on_resamples
from pipelines.training.process import prepare_process

# "test": metrics, "resamples": the metric on each, "num_params", "epochs": a row an epoch, "made_by"
Run = dict[str, Any]

NUM_RESAMPLES = 1000


def run_seeds(cell: Cell, test_rows: Rows, setting: Setting, params: Params, folder: Path) -> list[Run]:
    """One run a seed, in the order of the seeds. Each is kept in `folder` when it ends, and not run again.

    Raises ValueError when a run fails, with the first reason, and when a search or evaluation of the cell is at work.
    """
    key = fingerprint(cell, {}, {**setting, "resamples": NUM_RESAMPLES})
    files = [folder / f"final-{key}" / f"seed-{seed}.json" for seed in range(params.evaluate.num_seeds)]
    with locked(folder, f"{cell.model} on {cell.dataset}"):
        missing = [seed for seed, file in enumerate(files) if not is_whole(file)]
        if missing:
            train_seeds(cell, test_rows, setting, params, {seed: files[seed] for seed in missing})
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def is_whole(file: Path) -> bool:
    """Whether a run is there; one that was cut off while it was written is trained again."""
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except ValueError:  # no JSON, or no UTF-8
        logging.getLogger(__name__).warning("%s: damaged, trained again", file)
        return False
    return True


def train_seeds(cell: Cell, test_rows: Rows, setting: Setting, params: Params, files: dict[int, Path]) -> None:
    """Run the seeds, in parallel as far as the cluster reaches, each into its file."""
    origin = made_by(cell.behaviour)
    with cluster() as there_is:
        wanted = resources_per_run(params.tune.cpus_per_trial, params.tune.gpus_per_trial, there_is)
        task = ray.remote(num_cpus=wanted["cpu"], num_gpus=wanted["gpu"])(run_seed)
        shared = ray.put((cell, test_rows, setting))
        pending = {task.remote(shared, seed, params.tune.cpus_per_trial): seed for seed in files}
        for _ in track(files, f"{cell.model} on {cell.dataset}: seeds", console=Console(stderr=True)):
            (ended,), _rest = ray.wait(list(pending))
            try:
                write_json(files[pending.pop(ended)], {**ray.get(ended), "made_by": origin})
            except RayError as error:
                name = f"{cell.model} on {cell.dataset}"
                raise ValueError(f"a final run of {name} failed with: {last_line(error)}") from error


def run_seed(shared: tuple[Cell, Rows, Setting], seed: int, threads: int) -> Run:
    """Train with one seed and test the best validation epoch. Runs in a worker of Ray's."""
    prepare_process(threads)
    cell, test_rows, setting = shared
    model, epochs = cell.start(setting, final_seed(cell, seed))
    rows = [epoch.row() for epoch in epochs]
    logits, run = loop.predict(model, test_rows), resolve(setting, cell.training)[1]
    return {
        "test": compute_metrics(logits, test_rows.labels, run.loss).named("test"),
        "resamples": on_resamples(run.metric, logits, test_rows.labels, run.loss, resamples_seed(cell), NUM_RESAMPLES),
        "num_params": start.num_params(model),
        "epochs": rows,
    }


def final_seed(cell: Cell, number: int) -> int:
    """The seed of a final run."""
    return cell.seed("evaluate", number)


def resamples_seed(cell: Cell) -> int:
    """The seed of the resamples of the test rows, the same for all models."""
    return seed_for(cell.root_seed, "resamples", cell.dataset)


def summary(runs: list[Run], metric: str) -> dict[str, Any]:
    """Means and standard deviations over the seeds, and the figures of each seed; only `num_seeds` 0 without runs.

    `made_by` is that of the first seed: all have the same behaviour.

    The standard deviation is that of a sample (n − 1); with one seed there is none (null).
    """
    if not runs:
        return {"num_seeds": 0}
    seeds = [seed_figures(run, metric) for run in runs]
    result: dict[str, Any] = {"num_params": runs[0]["num_params"], "num_seeds": len(runs)}
    for name in seeds[0]:
        values = [figures[name] for figures in seeds]
        result[f"{name}_mean"] = statistics.fmean(values)
        result[f"{name}_std"] = statistics.stdev(values) if len(values) > 1 else None
    return {
        **result,
        "made_by": runs[0]["made_by"],
        "seeds": {str(seed): figures for seed, figures in enumerate(seeds)},
    }


def seed_figures(run: Run, metric: str) -> dict[str, float]:
    """Test metrics, validation metrics at the best epoch, and how long that took."""
    best = min(run["epochs"], key=lambda row: METRICS[metric].score(row[f"valid_{metric}"]))
    return {
        **run["test"],
        **{name: value for name, value in best.items() if name.startswith("valid_")},
        "best_epoch": best["epoch"],
        "epochs": len(run["epochs"]),
        "seconds_per_epoch": statistics.median(row["seconds"] for row in run["epochs"]),
    }


def headline(runs: list[Run], metric: str) -> str:
    """The result in a few words."""
    if not runs:
        return "declined"
    mean = statistics.fmean(run["test"][f"test_{metric}"] for run in runs)
    return f"test {metric} {mean:.4f} over {len(runs)} seeds"


def curves(runs: list[Run]) -> pl.DataFrame:
    """A row a seed and epoch: seconds, train loss and validation metrics."""
    return pl.DataFrame([{"seed": seed, **row} for seed, run in enumerate(runs) for row in run["epochs"]])


def resamples(runs: list[Run]) -> pl.DataFrame:
    """A row a resample of the test rows: its number, and each seed's metric."""
    columns = {f"seed_{seed}": run["resamples"] for seed, run in enumerate(runs)}
    return pl.DataFrame(columns).with_row_index("resample") if runs else pl.DataFrame()
