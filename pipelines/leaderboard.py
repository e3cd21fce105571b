"""Gather the results of all cells (a model on a data set) into the leaderboard."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.markdown import Markdown

from pipelines.data.card import Card, read_card
from pipelines.data.catalog import PUBLISHED, get_dataset
from pipelines.evaluation.results import Best, Declined, read_best, read_summary
from pipelines.project.cli import ParamsOption, run
from pipelines.project.files import write_json, write_text
from pipelines.project.golden_files import accepted_behaviour
from pipelines.project.metric import METRICS, Metric
from pipelines.project.params import Params, TrainingParams, load_params
from pipelines.project.paths import Paths
from pipelines.reporting.pages import TEMPLATES, render
from pipelines.reporting.tables import console, figure

COLUMNS = {  # after the columns of the metrics
    "num_params": "parameters",
    "seconds_per_epoch": "s / epoch",
    "num_trials": "trials",
    "num_seeds": "seeds",
    "published_rmse": "published RMSE",
}
FORMATS = {  # all other columns have four decimals
    "model": str,
    "num_params": "{:,}".format,
    "seconds_per_epoch": "{:.2f}".format,
    "num_trials": str,
    "num_seeds": str,
}


def main(
    params: ParamsOption = Path("params.yaml"),
    so_far: Annotated[bool, typer.Option("--so-far", help="Leave out results that are still missing.")] = False,
) -> None:
    """Write and print the leaderboard of the models and data sets in params.yaml.

    Writes results/leaderboard.md, leaderboard.csv and leaderboard.json.
    """
    config, paths = load_params(params), Paths(params.parent)
    for dataset in config.datasets:
        get_dataset(dataset)
    cards = {dataset: read_card(paths, dataset) for dataset in config.datasets}
    rows, missing = [], []
    for dataset, model in product(config.datasets, config.models):
        try:
            rows.append(read_row(paths, dataset, model, config.training, cards[dataset]))
        except ValueError:
            if not so_far:
                raise
            missing.append(f"{model} on {dataset}")
    metric = METRICS[config.training.metric]
    rows.sort(key=lambda row: (config.datasets.index(row["dataset"]), rank(row, metric)))
    text = markdown(rows, config, missing, cards)
    write_json(paths.leaderboard.with_suffix(".json"), rows)
    write_text(paths.leaderboard.with_suffix(".csv"), pl.DataFrame(rows, infer_schema_length=None).write_csv())
    write_text(paths.leaderboard.with_suffix(".md"), text)
    console().print(Markdown(text))


def read_row(paths: Paths, dataset: str, model: str, training: TrainingParams, card: Card | None) -> dict[str, Any]:
    """Read one cell's row of the leaderboard.

    `other_behaviour` is true if the code that made its search or final runs behaved differently from the golden files.
    Raises ValueError that names the stage to run if a result is missing.
    """
    folder = paths.results(dataset, model)
    best, summary = read_best(folder, model, dataset), read_summary(folder, model, dataset)
    declined = best.declined if isinstance(best, Declined) else None
    return {
        "dataset": dataset,
        "model": model,
        **{
            f"test_{metric}_{part}": compute(f"test_{metric}")
            for metric in METRICS
            for part, compute in (("mean", summary.mean), ("std", summary.std))
        },
        **{f"valid_{metric}": summary.mean(f"valid_{metric}") for metric in METRICS},
        "num_params": summary.num_params,
        "seconds_per_epoch": summary.mean("seconds_per_epoch"),
        "num_trials": best.num_trials if isinstance(best, Best) else 0,
        "num_seeds": len(summary.seeds),
        "published_rmse": published(dataset, card).get(model),
        "declined": declined,
        "other_behaviour": isinstance(best, Best)
        and {accepted_behaviour(model, training)}
        != {origin and origin.behaviour for origin in (best.made_by, summary.made_by)},
    }


def published(dataset: str, card: Card | None) -> dict[str, float]:
    """Return the published figures of a data set, unless its split is another."""
    return {} if card and card.split == "new_pairs" else get_dataset(dataset).published_rmse


def rank(row: dict[str, Any], metric: Metric) -> float:
    """Score a row by its test metric (lower is better; infinity without one)."""
    mean = row[f"test_{metric.name}_mean"]
    return math.inf if mean is None else metric.score(mean)


def markdown(
    rows: list[dict[str, Any]], config: Params, missing: Sequence[str], cards: Mapping[str, Card | None]
) -> str:
    """Render the page: each data set's table, best model first, and its card."""
    boards: dict[str, dict[str, list[Any]]] = {}
    for row in rows:
        board = boards.setdefault(row["dataset"], {"shown": [], "declined": []})
        if row["declined"]:
            board["declined"].append(row)
        else:
            board["shown"].append([format_figure(row, column) for column in columns(config)])
    return render(
        TEMPLATES / "leaderboard.md.j2",
        boards=boards,
        cards=cards,
        columns=list(columns(config).values()),
        metric=METRICS[config.training.metric],
        fixed=", ".join(f"{key.partition('.')[2]} {value}" for key, value in config.tune.fixed.items()),
        tune=config.tune,
        training=config.training,
        published=PUBLISHED,
        missing=missing,
        outdated=any(row["other_behaviour"] for row in rows),
    )


def columns(config: Params) -> dict[str, str]:
    """Return the columns' keys and titles, with the deciding metric first.

    The title of the published figures gives their K if the trials have another K.
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


def format_figure(row: dict[str, Any], column: str) -> str:
    """Format one figure of a row for the table."""
    if f"{column}_mean" in row:
        return figure(row[f"{column}_mean"], row[f"{column}_std"])
    value = row[column]
    if column == "model" and row["other_behaviour"]:
        return f"{value} †"
    return FORMATS.get(column, figure)(value) if value is not None else figure(None)


if __name__ == "__main__":
    run(main)
