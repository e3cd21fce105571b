"""Gather all cells into the leaderboard."""

import json
import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.markdown import Markdown

from pipelines.data.catalog import DATASETS, PUBLISHED, get_dataset
from pipelines.project.cli import ParamsOption, run
from pipelines.project.files import write_json, write_text
from pipelines.project.golden_files import accepted_behaviour
from pipelines.project.metric import METRICS, Metric
from pipelines.project.params import Params, TrainingParams, load_params
from pipelines.project.paths import Paths
from pipelines.reporting.pages import TEMPLATES, render
from pipelines.reporting.tables import console, figure

COLUMNS = {  # behind those of the metrics
    "num_params": "parameters",
    "seconds_per_epoch": "s / epoch",
    "num_trials": "trials",
    "num_seeds": "seeds",
    "published_rmse": "published RMSE",
}
FORMATS = {  # of the figures that have not four decimals
    "model": str,
    "num_params": "{:,}".format,
    "seconds_per_epoch": "{:.2f}".format,
    "num_trials": str,
    "num_seeds": str,
}


def main(
    params: ParamsOption = Path("params.yaml"),
    so_far: Annotated[bool, typer.Option("--so-far", help="Without the cells that are not run yet.")] = False,
) -> None:
    """Gather the cells of params.yaml into results/leaderboard.md, .csv and .json, and print it."""
    config, paths = load_params(params), Paths(params.parent)
    for dataset in config.datasets:
        get_dataset(dataset)
    cells, missing = [], []
    for dataset, model in product(config.datasets, config.models):
        try:
            cells.append(read_cell(paths, dataset, model, config.training))
        except ValueError:
            if not so_far:
                raise
            missing.append(f"{model} on {dataset}")
    metric = METRICS[config.training.metric]
    cells.sort(key=lambda cell: (config.datasets.index(cell["dataset"]), rank(cell, metric)))
    text = markdown(cells, config, missing)
    write_json(paths.leaderboard.with_suffix(".json"), cells)
    write_text(paths.leaderboard.with_suffix(".csv"), pl.DataFrame(cells, infer_schema_length=None).write_csv())
    write_text(paths.leaderboard.with_suffix(".md"), text)
    console().print(Markdown(text))


def read_cell(paths: Paths, dataset: str, model: str, training: TrainingParams) -> dict[str, Any]:
    """Read the leaderboard's row of one cell. Raises ValueError that names the stage to run when it is not there.

    `other_behaviour` says whether another behaviour than the accepted one made its search or its final runs.
    """
    folder = paths.results(dataset, model)
    for file, stage in (("best.json", "tune"), ("metrics.json", "evaluate")):
        if not (folder / file).exists():
            raise ValueError(f"no {folder / file}: run python -m pipelines.{stage} --model {model} --dataset {dataset}")
    best = json.loads((folder / "best.json").read_text(encoding="utf-8"))
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    spread = [f"test_{metric}" for metric in METRICS]
    return {
        "dataset": dataset,
        "model": model,
        **{f"{name}_{part}": metrics.get(f"{name}_{part}") for name in spread for part in ("mean", "std")},
        **{f"valid_{metric}": metrics.get(f"valid_{metric}_mean") for metric in METRICS},
        "num_params": metrics.get("num_params"),
        "seconds_per_epoch": metrics.get("seconds_per_epoch_mean"),
        "num_trials": best.get("num_trials", 0),
        "num_seeds": metrics["num_seeds"],
        "published_rmse": dict(DATASETS[dataset].published_rmse).get(model),
        "declined": best.get("declined"),
        "other_behaviour": "declined" not in best
        and {accepted_behaviour(model, training)}
        != {result.get("made_by", {}).get("behaviour") for result in (best, metrics)},
    }


def rank(cell: dict[str, Any], metric: Metric) -> float:
    """Score a cell by a test metric, infinitely badly without one."""
    mean = cell[f"test_{metric.name}_mean"]
    return math.inf if mean is None else metric.score(mean)


def markdown(cells: list[dict[str, Any]], config: Params, missing: Sequence[str] = ()) -> str:
    """Write the page: a table a data set, the best first, and what the figures are."""
    boards: dict[str, dict[str, list[Any]]] = {}
    for cell in cells:
        board = boards.setdefault(cell["dataset"], {"shown": [], "declined": []})
        if cell["declined"]:
            board["declined"].append(cell)
        else:
            board["shown"].append([shown(cell, column) for column in columns(config)])
    return render(
        TEMPLATES / "leaderboard.md.j2",
        boards=boards,
        columns=list(columns(config).values()),
        metric=METRICS[config.training.metric],
        fixed=", ".join(f"{key.partition('.')[2]} {value}" for key, value in config.tune.fixed.items()),
        tune=config.tune,
        training=config.training,
        published=PUBLISHED,
        missing=missing,
        outdated=any(cell["other_behaviour"] for cell in cells),
    )


def columns(config: Params) -> dict[str, str]:
    """Name the columns, the deciding metric first.

    The published figures' says their K, where that is not the K of all trials.
    """
    decides = METRICS[config.training.metric]
    tested = [decides, *(metric for metric in METRICS.values() if metric != decides)]
    size = PUBLISHED["embed_dim"]
    other = f" (K = {size})" if config.tune.fixed.get("model.embed_dim") != size else ""
    return {
        "model": "model",
        **{f"test_{metric.name}": f"test {metric.title}" for metric in tested},
        f"valid_{decides.name}": f"valid {decides.title}",
        **COLUMNS,
        "published_rmse": COLUMNS["published_rmse"] + other,
    }


def shown(cell: dict[str, Any], column: str) -> str:
    """One figure as the table shows it."""
    if f"{column}_mean" in cell:
        return figure(cell[f"{column}_mean"], cell[f"{column}_std"])
    value = cell[column]
    if column == "model" and cell["other_behaviour"]:
        return f"{value} †"
    return FORMATS.get(column, figure)(value) if value is not None else figure(None)


if __name__ == "__main__":
    run(main)
