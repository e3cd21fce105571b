"""Gather all cells into the leaderboard."""

import json
import math
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.markdown import Markdown

from pipelines.catalog import DATASETS, get_dataset
from pipelines.cli import ParamsOption, run
from pipelines.files import write_json, write_text
from pipelines.params import Params, load_params
from pipelines.paths import Paths
from pipelines.tables import console, markdown_table

COLUMNS = {
    "model": "model",
    "test_rmse": "test RMSE",
    "test_auc": "test AUC",
    "test_logloss": "test logloss",
    "valid_rmse": "valid RMSE",
    "num_params": "parameters",
    "seconds_per_epoch": "s / epoch",
    "num_trials": "trials",
    "num_seeds": "seeds",
    "published_rmse": "published RMSE",
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
            cells.append(read_cell(paths, dataset, model))
        except ValueError:
            if not so_far:
                raise
            missing.append(f"{model} on {dataset}")
    cells.sort(key=lambda cell: (config.datasets.index(cell["dataset"]), rank(cell)))
    text = markdown(cells, config) + (f"\nNot run yet: {', '.join(missing)}.\n" if missing else "")
    write_json(paths.leaderboard.with_suffix(".json"), cells)
    write_text(paths.leaderboard.with_suffix(".csv"), pl.DataFrame(cells, infer_schema_length=None).write_csv())
    write_text(paths.leaderboard.with_suffix(".md"), text)
    console().print(Markdown(text))


def read_cell(paths: Paths, dataset: str, model: str) -> dict[str, Any]:
    """The leaderboard's row of one cell. Raises ValueError that names the stage to run when it is not there."""
    folder = paths.results(dataset, model)
    for file, stage in (("best.json", "tune"), ("metrics.json", "evaluate")):
        if not (folder / file).exists():
            raise ValueError(f"no {folder / file}: run python -m pipelines.{stage} --model {model} --dataset {dataset}")
    best = json.loads((folder / "best.json").read_text(encoding="utf-8"))
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    spread = ("test_rmse", "test_auc", "test_logloss")
    return {
        "dataset": dataset,
        "model": model,
        **{f"{name}_{part}": metrics.get(f"{name}_{part}") for name in spread for part in ("mean", "std")},
        "valid_rmse": metrics.get("valid_rmse_mean"),
        "num_params": metrics.get("num_params"),
        "seconds_per_epoch": metrics.get("seconds_per_epoch_mean"),
        "num_trials": best.get("num_trials", 0),
        "num_seeds": metrics["num_seeds"],
        "published_rmse": dict(DATASETS[dataset].published_rmse).get(model),
        "declined": best.get("declined"),
    }


def rank(cell: dict[str, Any]) -> float:
    """By test RMSE, those without one last."""
    return math.inf if cell["test_rmse_mean"] is None else cell["test_rmse_mean"]


def markdown(cells: list[dict[str, Any]], config: Params) -> str:
    """A table a data set, best test RMSE first, and what the figures are."""
    lines = ["# Leaderboard", ""]
    for dataset in dict.fromkeys(cell["dataset"] for cell in cells):
        here = [cell for cell in cells if cell["dataset"] == dataset]
        rows = ([shown(cell, column) for column in COLUMNS] for cell in here if not cell["declined"])
        lines += [f"## {dataset}", "", *markdown_table(COLUMNS.values(), rows), ""]
        lines += [f"{cell['model']} is not here: {cell['declined']}\n" for cell in here if cell["declined"]]
    fixed = ", ".join(f"{key.partition('.')[2]} {value}" for key, value in config.tune.fixed.items())
    epochs = f"at most {config.training.max_epochs} epochs"
    if config.tune.max_epochs:
        epochs = f"at most {config.tune.max_epochs} epochs a trial and {config.training.max_epochs} in the final runs"
    if config.tune.scheduler != "none":
        epochs += f", trials that fell behind stopped by {config.tune.scheduler}"
    lines += [
        "Mean ± standard deviation over the seeds, each tested once, at its best validation epoch. RMSE is on labels"
        " ±1, predictions clipped to [−1, 1]. Published RMSE: Table 2 of the IFM paper, where it is on the same data.",
        f"Held fixed in every trial: {fixed or 'nothing'}; {epochs}. The paper has embed_dim 256 and up to 100 epochs.",
        "",
    ]
    return "\n".join(lines)


def shown(cell: dict[str, Any], column: str) -> str:
    """One figure as the table shows it."""
    if f"{column}_mean" in cell:
        mean, std = cell[f"{column}_mean"], cell[f"{column}_std"]
        return f"{mean:.4f}" if std is None else f"{mean:.4f} ± {std:.4f}"
    value = cell[column]
    if value is None:
        return "–"
    if column == "num_params":
        return f"{value:,}"
    if column == "seconds_per_epoch":
        return f"{value:.2f}"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    run(main)
