"""Gather the results of all cells (a model on a data set) into the leaderboard."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from types import MappingProxyType
from typing import Annotated, Any

import polars as pl
import typer
from rich.markdown import Markdown

from pipelines.data.card import Card, read_card
from pipelines.data.catalog import PUBLISHED, get_dataset
from pipelines.evaluation.published import Figure, published
from pipelines.evaluation.results import Best, Declined, Mixture, Mixtures, Summary, read_best, read_summary
from pipelines.project.cli import ParamsOption, run
from pipelines.project.files import failure, file_digest, write_json, write_text
from pipelines.project.golden_files import accepted_behaviour
from pipelines.project.metric import EVERY_EPOCH, METRICS, Metric
from pipelines.project.params import Params, TrainingParams, load_params
from pipelines.project.paths import Paths
from pipelines.project.records import Missing, command, read_csv, read_record
from pipelines.reporting.pages import TEMPLATES, render
from pipelines.reporting.tables import console, figure

COLUMNS = {  # after the columns of the metrics
    "num_params": "parameters",
    "seconds_per_epoch": "s / epoch",
    "search_seconds": "search min",
    "num_trials": "trials",
    "num_seeds": "seeds",
}
FIRST = ("auc", "logloss", "rmse")  # the order of metrics after the one that decides
DECIMALS = {f"{split}_{metric.name}": metric.decimals for split in ("test", "valid") for metric in METRICS.values()}
FORMATS = {  # of columns that are no metrics; published figures have four decimals
    "model": str,
    "num_params": "{:,}".format,
    "seconds_per_epoch": "{:.2f}".format,
    "search_seconds": lambda seconds: f"{seconds / 60:.1f}",
    "num_trials": str,
    "num_seeds": str,
}


def main(
    params: ParamsOption = Path("params.yaml"),
    so_far: Annotated[bool, typer.Option("--so-far", help="Leave out results that are still missing.")] = False,
    all_metrics: Annotated[
        bool, typer.Option("--all-metrics", help="Show every metric that all the results have.")
    ] = False,
) -> None:
    """Write and print the leaderboard of the models and data sets in params.yaml.

    A model whose search or final runs failed is named with the reason.

    Writes results/leaderboard.md, leaderboard.csv and leaderboard.json.
    """
    config, paths = load_params(params), Paths(params.parent)
    cards = {dataset: read_card(paths, dataset) for dataset in config.datasets}
    metric, rows, missing = METRICS[config.training.metric], [], []
    others = {
        dataset: published(get_dataset(dataset, paths.root), cards[dataset]).get(metric.name, {})
        for dataset in config.datasets
    }
    failed: dict[str, str] = {}  # by cell, why there is no result
    for dataset, model in product(config.datasets, config.models):
        try:
            rows.append(read_row(paths, dataset, model, config.training, others[dataset]))
        except Missing:
            if reason := why_missing(paths, dataset, model):
                failed[f"{model} on {dataset}"] = reason
            elif so_far:
                missing.append(f"{model} on {dataset}")
            else:
                raise
    for dataset in config.datasets:
        found, reason = read_mixtures(paths, dataset, metric.name)
        rows += found
        if reason:
            failed[f"ensembles on {dataset}"] = reason
    rows.sort(key=lambda row: (config.datasets.index(row["dataset"]), rank(row, metric)))
    shown = columns(rows, config, all_metrics)
    best = {dataset: figures[""] for dataset, figures in others.items() if "" in figures}
    text = markdown(rows, config, cards, shown, missing, failed, best)
    write_json(paths.leaderboard.with_suffix(".json"), rows)
    write_text(paths.leaderboard.with_suffix(".csv"), pl.DataFrame(rows, infer_schema_length=None).write_csv())
    write_text(paths.leaderboard.with_suffix(".md"), text)
    screen = console()
    fitting = columns_that_fit(rows, shown, screen.width)
    screen.print(Markdown(markdown(rows, config, cards, fitting, missing, failed, best)))
    if left := len(shown) - len(fitting):
        screen.print(f"{left} more columns in {paths.leaderboard.with_suffix('.md')}", soft_wrap=True, highlight=False)


def read_row(
    paths: Paths, dataset: str, model: str, training: TrainingParams, others: Mapping[str, Figure]
) -> dict[str, Any]:
    """Read one cell's row of the leaderboard, with the figure that others published.

    `other_behaviour` is true if the code that made its search or final runs behaved differently from the golden files.
    Raises ValueError that names the stage to run if a result is missing.
    """
    folder = paths.results(dataset, model)
    try:
        best = read_best(folder, model, dataset)
    except Missing:
        if (folder / "metrics.json").exists():
            read_summary(folder, model, dataset)  # if it is damaged, that is what to say
        raise
    summary = read_summary(folder, model, dataset)
    declined = best.declined if isinstance(best, Declined) else None
    expected = {*EVERY_EPOCH, training.metric}
    tested = [name for name in METRICS if name in expected or summary.values(f"test_{name}")]
    validated = [name for name in METRICS if name in expected or summary.values(f"valid_{name}")]
    return {
        "dataset": dataset,
        "model": model,
        **{
            f"test_{metric}_{part}": compute(f"test_{metric}")
            for metric in tested
            for part, compute in (("mean", summary.mean), ("std", summary.std))
        },
        **{f"valid_{metric}": summary.mean(f"valid_{metric}") for metric in validated},
        "num_params": summary.num_params,
        "seconds_per_epoch": summary.mean("seconds_per_epoch"),
        "search_seconds": search_seconds(folder),
        "num_trials": best.num_trials if isinstance(best, Best) else 0,
        "num_seeds": len(summary.seeds),
        **luck_of_searches(summary, training.metric),
        "published": others[model].value if model in others else None,
        "declined": declined,
        "other_behaviour": isinstance(best, Best)
        and {accepted_behaviour(model, training)}
        != {origin and origin.behaviour for origin in (best.made_by, summary.made_by)},
    }


def read_mixtures(paths: Paths, dataset: str, metric: str) -> tuple[list[dict[str, Any]], str | None]:
    """Read the rows of a data set's ensembles, if there are any.

    Returns why they are left out where they are of other final runs than the rows of the models.
    """
    file, again = paths.ensembles(dataset), f"python -m pipelines.ensemble --dataset {dataset}"
    if not file.exists():
        return [], None
    record = read_record(file, Mixtures, again)
    files = {model: paths.results(dataset, model) / "metrics.json" for model in record.of}
    if record.metric != metric or any(
        not path.exists() or file_digest(path) != record.of[model] for model, path in files.items()
    ):
        return [], f"they are of other final runs; run {again}"
    searches = {model: search_seconds(paths.results(dataset, model)) for model in record.of}
    return [mixture_row(dataset, each, searches) for each in record.mixtures], None


def search_seconds(folder: Path) -> float | None:
    """Sum the seconds of all trials of a cell. Returns None where it has no table of trials."""
    file = folder / "trials.csv"
    if not file.exists() or not file.stat().st_size:  # as of a model that declines the data set
        return None
    trials = read_csv(file, command("tune", folder.name, folder.parent.name))
    return float(trials["seconds"].fill_null(0).sum())


def mixture_row(dataset: str, mixture: Mixture, searches: Mapping[str, float | None]) -> dict[str, Any]:
    """Make an ensemble's row of the leaderboard. Its search took as long as those of its models."""
    models = {member.rpartition(" ")[0] for member in mixture.members}
    figures = [
        (f"test_{name}_{part}", values.get(name))
        for name in mixture.test
        for part, values in (("mean", mixture.test), ("std", mixture.spread))
    ]
    return {
        "dataset": dataset,
        "model": mixture.name,
        "kind": mixture.kind,
        **dict(figures),
        **{f"valid_{name}": value for name, value in mixture.valid.items()},
        "num_params": mixture.num_params,
        "seconds_per_epoch": mixture.seconds_per_epoch,
        "search_seconds": None
        if mixture.kind == "default"
        else math.fsum(searches.get(model) or 0.0 for model in models),  # exact: a set has no order
        "num_trials": mixture.num_trials,
        "num_seeds": len(mixture.members),
        "published": None,
        "declined": None,
        "other_behaviour": False,
    }


def luck_of_searches(summary: Summary, metric: str) -> dict[str, Any]:
    """Return mean and deviation of what the settings of several searches reach; nothing for a single search."""
    values = [means[f"test_{metric}"] for means in summary.searches or () if f"test_{metric}" in means]
    if not values:
        return {}
    return {"searches_mean": fmean(values), "searches_std": stdev(values), "num_searches": len(values)}


def why_missing(paths: Paths, dataset: str, model: str) -> str | None:
    """Return why a cell's last run failed; None where it did not, or where its results are there."""
    folder = paths.results(dataset, model)
    whole = (folder / "best.json").exists() and (folder / "metrics.json").exists()
    return None if whole else failure(paths.study(dataset, model))


def rank(row: dict[str, Any], metric: Metric) -> float:
    """Score a row by its test metric (lower is better; infinity without one)."""
    mean = row[f"test_{metric.name}_mean"]
    return math.inf if mean is None else metric.score(mean)


def columns_that_fit(rows: list[dict[str, Any]], shown: dict[str, str], width: int) -> dict[str, str]:
    """Leave out the last columns that a terminal of this width would cut."""
    shown = dict(shown)
    cells = {column: [title, *(format_figure(row, column) for row in rows)] for column, title in shown.items()}
    widths = {column: 2 + max(map(len, texts)) for column, texts in cells.items()}
    while sum(widths[column] for column in shown) + len(shown) > width and len(shown) > 2:
        shown.popitem()
    return shown


def markdown(
    rows: list[dict[str, Any]],
    config: Params,
    cards: Mapping[str, Card | None],
    shown: Mapping[str, str],
    missing: Sequence[str] = (),
    failed: Mapping[str, str] = MappingProxyType({}),
    best: Mapping[str, Figure] = MappingProxyType({}),
) -> str:
    """Render the page: each data set's table, best model first, and its card."""
    boards: dict[str, dict[str, list[Any]]] = {}
    for row in rows:
        board = boards.setdefault(row["dataset"], {"shown": [], "declined": []})
        if row["declined"]:
            board["declined"].append(row)
        else:
            board["shown"].append([format_figure(row, column) for column in shown])
    return render(
        TEMPLATES / "leaderboard.md.j2",
        boards=boards,
        cards=cards,
        columns=list(shown.values()),
        metric=METRICS[config.training.metric],
        explanations=[METRICS[name].explanation for name in METRICS if f"test_{name}" in shown],
        fixed=", ".join(f"{key.partition('.')[2]} {value}" for key, value in config.tune.fixed.items()),
        tune=config.tune,
        training=config.training,
        published=PUBLISHED if any(row["published"] is not None for row in rows) else None,
        best=best,
        missing=missing,
        failed=failed,
        mixtures=any("kind" in row for row in rows),
        searches="searches" in shown,
        random_draws=bool(rows) and drawn_at_random(config, rows),
        outdated=any(row["other_behaviour"] for row in rows),
    )


def drawn_at_random(config: Params, rows: list[dict[str, Any]]) -> bool:
    """Tell whether no sampler learnt from trials, in any search."""
    return all(row["num_trials"] <= config.tune.num_random for row in rows if "kind" not in row)


def columns(rows: list[dict[str, Any]], config: Params, all_metrics: bool = False) -> dict[str, str]:
    """Name the columns, the deciding metric first.

    With `all_metrics`, other metrics that all models have follow those of every epoch. The column of published figures
    is there if a row has one. Its title has their K if the trials use another K.
    """
    decides = METRICS[config.training.metric]
    ranked = [row for row in rows if not row["declined"]]
    tested = [METRICS[name] for name in dict.fromkeys((decides.name, *FIRST, *METRICS))]
    tested = [
        metric
        for metric in tested
        if metric == decides or metric.every_epoch or (all_metrics and has_all(ranked, metric))
    ]
    size, published = PUBLISHED["embed_dim"], f"published {decides.title}"
    if decides.name == "rmse" and config.tune.fixed.get("model.embed_dim") != size:
        published += f" (K = {size})"
    known = {key for row in rows for key, value in row.items() if value is not None}
    repeated = [row["num_searches"] for row in rows if "num_searches" in row]
    return {
        "model": "model",
        **{f"test_{metric.name}": f"test {metric.title}" for metric in tested},
        f"valid_{decides.name}": f"valid {decides.title}",
        **({"searches": f"over {max(repeated)} searches"} if repeated else {}),
        **{key: title for key, title in COLUMNS.items() if key in known or key != "search_seconds"},
        **({"published": published} if "published" in known else {}),
    }


def has_all(rows: list[dict[str, Any]], metric: Metric) -> bool:
    """Tell whether every row has a metric."""
    return all(row.get(f"test_{metric.name}_mean") is not None for row in rows)


def format_figure(row: dict[str, Any], column: str) -> str:
    """Format one figure of a row for the table."""
    if f"{column}_mean" in row:
        return figure(row[f"{column}_mean"], row[f"{column}_std"], DECIMALS.get(column, 4))
    value = row.get(column)  # a model that declines the data set lacks metrics
    if column == "model" and row["other_behaviour"]:
        return f"{value} †"
    if value is None or column not in FORMATS:
        return figure(value, decimals=DECIMALS.get(column, 4))
    return FORMATS[column](value)


if __name__ == "__main__":
    run(main)
