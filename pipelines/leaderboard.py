"""Gather the results of all cells (a model on a data set) into the leaderboard."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import polars as pl
import typer
from rich.markdown import Markdown

from pipelines.data.card import Card, read_card
from pipelines.data.catalog import PUBLISHED, get_dataset
from pipelines.evaluation.board import rank, read_mixtures, read_row, why_missing
from pipelines.evaluation.comparisons import Tested, read_tested
from pipelines.evaluation.published import Figure, published
from pipelines.evaluation.ranks import standings
from pipelines.project.cli import ParamsOption, run
from pipelines.project.files import write_json, write_text
from pipelines.project.metric import METRICS, Metric
from pipelines.project.params import Params, load_params
from pipelines.project.paths import Paths
from pipelines.project.records import Missing
from pipelines.reporting.board import columns, columns_that_fit, format_figure, standing_cells
from pipelines.reporting.pages import TEMPLATES, render
from pipelines.reporting.tables import console, figure


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
    ranked = standings({dataset: tested(paths, dataset, rows, metric) for dataset in config.datasets}, metric)
    best = {dataset: figures[""] for dataset, figures in others.items() if "" in figures}
    text = markdown(rows, config, cards, shown, missing, failed, best, ranked)
    write_json(paths.leaderboard.with_suffix(".json"), rows)
    write_text(paths.leaderboard.with_suffix(".csv"), pl.DataFrame(rows, infer_schema_length=None).write_csv())
    write_text(paths.leaderboard.with_suffix(".md"), text)
    screen = console()
    fitting = columns_that_fit(rows, shown, screen.width)
    screen.print(Markdown(markdown(rows, config, cards, fitting, missing, failed, best, ranked)))
    if left := len(shown) - len(fitting):
        screen.print(f"{left} more columns in {paths.leaderboard.with_suffix('.md')}", soft_wrap=True, highlight=False)


def tested(paths: Paths, dataset: str, rows: Sequence[Mapping[str, Any]], metric: Metric) -> Tested:
    """Read what the models of a board reached on resamples of the test rows."""
    of_models = [row for row in rows if row["dataset"] == dataset and "kind" not in row]
    return read_tested(paths, dataset, [row["model"] for row in of_models], metric)[0]


def markdown(
    rows: list[dict[str, Any]],
    config: Params,
    cards: Mapping[str, Card | None],
    shown: Mapping[str, str],
    missing: Sequence[str] = (),
    failed: Mapping[str, str] = MappingProxyType({}),
    best: Mapping[str, Figure] = MappingProxyType({}),
    standings: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Render the page: each data set's table, best model first, and its card."""
    boards: dict[str, dict[str, list[Any]]] = {}
    for row in rows:
        board = boards.setdefault(row["dataset"], {"shown": [], "declined": []})
        if row["declined"]:
            board["declined"].append(row)
        else:
            board["shown"].append([format_figure(row, column) for column in shown])
    metric = METRICS[config.training.metric]
    means = {(row["dataset"], row["model"]): row.get(f"test_{metric.name}_mean") for row in rows}
    return render(
        TEMPLATES / "leaderboard.md.j2",
        boards=boards,
        cards=cards,
        columns=list(shown.values()),
        metric=metric,
        explanations=[METRICS[name].explanation for name in METRICS if f"test_{name}" in shown],
        fixed=", ".join(f"{key.partition('.')[2]} {value}" for key, value in config.tune.fixed.items()),
        tune=config.tune,
        training=config.training,
        published=PUBLISHED if any(row["published"] is not None for row in rows) else None,
        best=best,
        standings=[
            [model, *(figure(means.get((dataset, model))) for dataset in boards), *cells]
            for model, *cells in map(standing_cells, standings)
        ],
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


if __name__ == "__main__":
    run(main)
