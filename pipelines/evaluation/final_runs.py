"""Train a cell's best setting with several seeds, and test each run once.

The deciding metric is also computed on resamples of the test rows, drawn with replacement. All models of a data set
share the resamples, so two models can be compared row by row without their predictions (`pipelines.significance`).
"""

import logging
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import ray
from ray.exceptions import RayError
from rich.console import Console
from rich.progress import track
from safetensors.torch import load_file
from torch import nn

from pipelines.data.rows import Rows
from pipelines.evaluation.bundles import weights_of
from pipelines.evaluation.interactions import interactions
from pipelines.evaluation.predictions import write_predictions
from pipelines.evaluation.results import Run, Seed, Summary
from pipelines.project import code
from pipelines.project.cluster import cluster, last_line, resources_per_run
from pipelines.project.files import locked, written_whole
from pipelines.project.metric import METRICS
from pipelines.project.params import Params
from pipelines.project.records import command, read_record, write_record
from pipelines.project.seeds import seed_for
from pipelines.project.settings import RECIPE, Setting, resolve
from pipelines.training import start
from pipelines.training.behaviour import digest
from pipelines.training.cell import Cell, fingerprint
from pipelines.training.metrics import compute_metrics, defined, on_resamples
from pipelines.training.predicting import predict
from pipelines.training.process import forget_peak_memory, peak_memory_mb, prepare_process

NUM_RESAMPLES = 1000


def run_seeds(cell: Cell, test_rows: Rows, setting: Setting, params: Params, folder: Path) -> list[Run]:
    """Train and test once for each seed, and return the runs in order.

    Each run is kept in `folder` as soon as it ends, and is not trained again. Raises ValueError when a run fails, with
    the first reason, and when a search or evaluation of the cell is at work.
    """
    files, keep = run_files(cell, setting, params, folder), params.evaluate.keep
    with locked(folder, f"{cell.model} on {cell.dataset}"):
        done = {seed: run for seed, file in files.items() if (run := read_run(file, cell))}
        missing = {seed: f for seed, f in files.items() if seed not in done or (keep and not kept_of(f).exists())}
        if missing:
            done |= train_seeds(cell, test_rows, setting, params, missing)
        if keep:
            keep_best_weights(files, done, cell.training.metric)
    return [done[seed] for seed in files]


def run_files(cell: Cell, setting: Setting, params: Params, folder: Path) -> dict[int, Path]:
    """Name the file of each run, by seed."""
    recipe = {"recipes": digest("recipes")} if RECIPE in setting else {}
    key = fingerprint(cell, {}, {**setting, "resamples": NUM_RESAMPLES, **recipe})
    return {seed: folder / f"final-{key}" / f"seed-{seed}.json" for seed in range(params.evaluate.num_seeds)}


def kept_of(file: Path) -> Path:
    """Return the path of a run's kept predictions."""
    return file.with_suffix(".npz")


def weights_file(file: Path) -> Path:
    """Return the path of a run's kept weights. Only the best run on validation rows has them."""
    return file.with_suffix(".safetensors")


def kept_model(cell: Cell, setting: Setting, file: Path | None) -> nn.Module | None:
    """Make a run's model with its kept weights; None where they are not kept."""
    if file is None or not weights_file(file).exists():
        return None
    model = start.new_model(cell.model, cell.schema, resolve(setting, cell.training)[0], seed=0)
    model.load_state_dict(load_file(weights_file(file)))
    return model


def keep_best_weights(files: Mapping[int, Path], done: Mapping[int, Run], metric: str) -> None:
    """Remove the kept weights of all runs but the best one on validation rows."""
    best = min(
        done, key=lambda seed: METRICS[metric].score(seed_figures(done[seed], metric).figures()[f"valid_{metric}"])
    )
    for seed, file in files.items():
        if seed != best:
            weights_file(file).unlink(missing_ok=True)


def read_run(file: Path, cell: Cell) -> Run | None:
    """Read a finished run; None where there is none, or only part of one."""
    if not file.exists():
        return None
    try:
        return read_record(file, Run, command("evaluate", cell.model, cell.dataset))
    except ValueError:
        logging.getLogger(__name__).warning("%s: damaged, trained again", file)
        return None


def train_seeds(
    cell: Cell, test_rows: Rows, setting: Setting, params: Params, files: dict[int, Path]
) -> dict[int, Run]:
    """Train the seeds in parallel, and write each run into its file when it ends."""
    origin, done = cell.made_by(), {}
    with cluster() as there_is:
        wanted = resources_per_run(params.tune.cpus_per_trial, params.tune.gpus_per_trial, there_is)
        task: Any = ray.remote(num_cpus=wanted["cpu"], num_gpus=wanted["gpu"])(run_seed)
        shared, running = ray.put((cell, test_rows, setting)), code.digest(code.at_start())
        keep = params.evaluate.keep
        pending = {task.remote(shared, seed, params.tune.cpus_per_trial, running, keep): seed for seed in files}
        for _ in track(files, f"{cell.model} on {cell.dataset}: seeds", console=Console(stderr=True)):
            (ended,), _rest = ray.wait(list(pending))
            seed = pending.pop(ended)
            try:
                result = ray.get(ended)
            except RayError as error:
                name = f"{cell.model} on {cell.dataset}"
                raise ValueError(f"a final run of {name} failed with: {last_line(error)}") from error
            if keep:
                with written_whole(weights_file(files[seed])) as partial:
                    partial.write_bytes(result.pop("weights"))
                write_predictions(kept_of(files[seed]), result.pop("predictions"))
            done[seed] = Run(**result, made_by=origin)
            write_record(files[seed], done[seed])
    return done


def run_seed(
    shared: tuple[Cell, Rows, Setting], seed: int, threads: int, running: str, keep: bool = False
) -> dict[str, Any]:
    """Train with one seed in a Ray worker, and test the best epoch; return a `Run` without its origin.

    With `keep`, the logits of valid and test and the weights are there too.
    """
    code.check_same(running)
    prepare_process(threads)
    cell, test_rows, setting = shared
    forget_peak_memory()
    model, epochs = cell.train(setting, final_seed(cell, seed))
    logits, run = predict(model, test_rows), resolve(setting, cell.training)[1]
    labels, groups = test_rows.labels, test_rows.groups
    seed_of_resamples = resamples_seed(cell)
    kept: dict[str, Any] = {}
    if keep:
        kept["predictions"] = {"valid": predict(model, cell.valid_rows).numpy(), "test": logits.numpy()}
        kept["weights"] = weights_of(model)
    return {
        **kept,
        "test": compute_metrics(logits, labels, run.loss, defined(labels, groups), groups).named("test"),
        "resamples": on_resamples(run.metric, logits, labels, run.loss, seed_of_resamples, NUM_RESAMPLES, groups),
        "num_params": start.num_params(model),
        "epochs": [epoch.row() for epoch in epochs],
        "interactions": interactions(model, cell.valid_rows, cell.schema["fields"], interactions_seed(cell)),
        "peak_memory_mb": peak_memory_mb(),
    }


def final_seed(cell: Cell, number: int) -> int:
    """Derive the seed of a final run."""
    return cell.seed("evaluate", number)


def resamples_seed(cell: Cell) -> int:
    """Derive the seed of the resamples of the test rows, the same for all models."""
    return seed_for(cell.root_seed, "resamples", cell.dataset)


def interactions_seed(cell: Cell) -> int:
    """Derive the seed of the rows on which pairs of fields are measured."""
    return seed_for(cell.root_seed, "interactions", cell.dataset)


def summary(runs: list[Run], metric: str, others: Sequence[list[Run]] = ()) -> Summary:
    """Gather the figures of all seeds; `others` are the runs of other searches' settings."""
    if not runs:
        return Summary()
    seeds = {str(number): seed_figures(run, metric) for number, run in enumerate(runs)}
    pairs = runs[0].interactions if all(run.interactions for run in runs) else ()  # older runs have none
    together = {pair: statistics.fmean(run.interactions[pair] for run in runs) for pair in pairs}
    means = [
        {name: statistics.fmean(run.test[name] for run in of_search) for name in runs[0].test}
        for of_search in (runs, *others)
    ]
    return Summary(
        num_params=runs[0].num_params,
        made_by=runs[0].made_by,
        interactions=together or None,
        seeds=seeds,
        searches=means if others else None,
    )


def seed_figures(run: Run, metric: str) -> Seed:
    """Gather a run's test metrics, best epoch, validation metrics at that epoch, and speed."""
    best = min(run.epochs, key=lambda row: METRICS[metric].score(row[f"valid_{metric}"]))
    return Seed.model_validate(
        {
            **run.test,
            **{name: value for name, value in best.items() if name.startswith("valid_")},
            "best_epoch": best["epoch"],
            "epochs": len(run.epochs),
            "seconds_per_epoch": statistics.median(row["seconds"] for row in run.epochs),
            "peak_memory_mb": run.peak_memory_mb,
        }
    )


def headline(runs: list[Run], metric: str) -> str:
    """Write the result in a few words."""
    if not runs:
        return "declined"
    mean = METRICS[metric].format(statistics.fmean(run.test[f"test_{metric}"] for run in runs))
    return f"test {metric} {mean} over {len(runs)} seed{'s' if len(runs) > 1 else ''}"


def curves(runs: list[Run]) -> pl.DataFrame:
    """Return one row for each seed and epoch: seconds, train loss and validation metrics."""
    return pl.DataFrame([{"seed": seed, **row} for seed, run in enumerate(runs) for row in run.epochs])


def resamples(runs: list[Run]) -> pl.DataFrame:
    """Return one row for each resample of the test rows: its number, and each seed's metric."""
    columns = {f"seed_{seed}": run.resamples for seed, run in enumerate(runs)}
    return pl.DataFrame(columns).with_row_index("resample") if runs else pl.DataFrame()
