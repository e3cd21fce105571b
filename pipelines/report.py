"""Show all results on one page that needs no network."""

import inspect
import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from pipelines.data.card import read_card
from pipelines.data.catalog import get_dataset
from pipelines.evaluation.comparisons import compare
from pipelines.evaluation.results import Best, command, read_best, read_summary
from pipelines.leaderboard import columns, format_figure, rank, read_row, why_missing
from pipelines.project.cli import ParamsOption, run
from pipelines.project.files import write_text
from pipelines.project.metric import METRICS, Metric
from pipelines.project.params import Params, load_params
from pipelines.project.paths import Paths
from pipelines.project.records import Missing, read_csv
from pipelines.project.settings import format_setting
from pipelines.reporting import specs
from pipelines.reporting.pages import TEMPLATES, html
from pipelines.reporting.tables import figure

WATCH_SECONDS = 10


def main(
    params: ParamsOption = Path("params.yaml"),
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Write the page anew every 10 s, until Ctrl-C.")] = False,
) -> None:
    """Write one page with the boards, charts, models and data.

    It needs no network. Results that are missing are left out, and named.

    Writes results/report.html.
    """
    config, paths = load_params(params), Paths(params.parent)
    while True:
        write_text(paths.report, page(config, paths, WATCH_SECONDS if watch else None))
        print(f"{paths.report} written", flush=True)
        if show:
            webbrowser.open(paths.report.resolve().as_uri())
            show = False
        if not watch:
            return
        time.sleep(WATCH_SECONDS)


def page(config: Params, paths: Paths, refresh: int | None = None) -> str:
    """Render the page. A browser loads it again after `refresh` seconds."""
    import vl_convert  # takes time to import

    boards = [board(dataset, config, paths) for dataset in config.datasets]
    return html(
        TEMPLATES / "report.html.j2",
        boards=boards,
        models={name: inspect.getdoc(model_class(name)) or "" for name in config.models},
        metric=METRICS[config.training.metric],
        params=config.model_dump(mode="json", exclude={"datasets", "models"}),
        charts={f"{each['name']}-{name}": spec for each in boards for name, spec in each["charts"].items()},
        vega=vl_convert.javascript_bundle(None),  # type: ignore[arg-type]  # None: Vega alone
        refresh=refresh,
    )


def model_class(name: str) -> type:
    """Find the class of a model."""
    from models.registry import get_model  # torch takes seconds to import

    return get_model(name)


def board(dataset: str, config: Params, paths: Paths) -> dict[str, Any]:
    """Gather what the page shows of one data set."""
    card, metric = read_card(paths, dataset), METRICS[config.training.metric]
    rows, missing = [], {}
    for model in config.models:
        try:
            rows.append(read_row(paths, dataset, model, config.training, card))
        except Missing:
            missing[model] = why_missing(paths, dataset, model) or "not run yet"
    rows.sort(key=lambda row: rank(row, metric))
    result = compare(paths, dataset, config.models, metric)
    tested = [row for row in rows if row[f"test_{metric.name}_mean"] is not None]
    cells = {row["model"]: cell(paths, dataset, row["model"], metric) for row in tested}
    return {
        "name": dataset,
        "entry": get_dataset(dataset, paths.root),
        "card": card,
        "headline": headline(dataset, tested, result, metric),
        "columns": columns(rows, config),
        "rows": [(row["model"], sortable(row, columns(rows, config))) for row in tested],
        "equal": equal_to_best(result),
        "declined": {row["model"]: row["declined"] for row in rows if row["declined"]},
        "missing": missing,
        "cells": cells,
        "charts": charts(tested, result, cells, config.models, metric),
    }


def sortable(row: dict[str, Any], shown: dict[str, str]) -> list[tuple[str, Any]]:
    """Pair the text of each cell with the value by which a column is sorted."""
    return [(format_figure(row, column), row.get(f"{column}_mean", row.get(column))) for column in shown]


def equal_to_best(result: dict[str, Any]) -> list[str]:
    """List the models that are not shown to differ from the best."""
    if not result["models"]:
        return []
    first = result["models"][0]["model"]
    pairs = [pair["models"] for pair in result["pairs"] if first in pair["models"] and not pair["differ"]]
    return [other for pair in pairs for other in pair if other != first]


def headline(dataset: str, tested: list[dict[str, Any]], result: dict[str, Any], metric: Metric) -> str:
    """Say which model is best, by how much, and which may be as good."""
    if not tested:
        return f"No model has results on {dataset} yet."
    name = f"test_{metric.name}"
    best = tested[0]
    said = f"{best['model']} is best on {dataset}: test {metric.title} {format_figure(best, name)}."
    equal = equal_to_best(result)
    other = next((row for row in tested[1:] if row["model"] not in equal), None)
    if equal:
        said += f" {', '.join(equal)} can't be told from it."
    if other:
        by = abs(other[f"{name}_mean"] - best[f"{name}_mean"])
        said += f" {other['model']}, the next, is worse by {metric.format(by)}."
    return said


def cell(paths: Paths, dataset: str, model: str, metric: Metric) -> dict[str, Any]:
    """Read the search and the final runs of a model: setting, seeds, curves and trials."""
    folder = paths.results(dataset, model)
    best, summary = read_best(folder, model, dataset), read_summary(folder, model, dataset)
    setting = best.setting if isinstance(best, Best) else {}
    trials = read_csv(folder / "trials.csv", command("tune", model, dataset))
    curves = read_csv(folder / "curves.csv", command("evaluate", model, dataset))
    return {
        "setting": setting,
        "best": best,
        "seeds": summary.values(f"test_{metric.name}"),
        "made_by": summary.made_by,
        "search_seconds": float(trials["seconds"].fill_null(0).sum()),
        "trials": trial_rows(model, trials, metric),
        "curve": curve_rows(model, curves, metric),
    }


def trial_rows(model: str, trials: pl.DataFrame, metric: Metric) -> list[dict[str, Any]]:
    """List a search's trials with the best value so far."""
    known, best = {"trial", "state", "valid", "best_epoch", "epochs", "seconds", "reason"}, None
    rows = []
    for row in trials.iter_rows(named=True):
        if row["valid"] is not None and (best is None or metric.score(row["valid"]) < metric.score(best)):
            best = row["valid"]
        setting = format_setting({key: each for key, each in row.items() if key not in known})
        shown = {"model": model, "trial": row["trial"], "state": row["state"], "reason": row["reason"] or ""}
        rows.append({**shown, "value": row["valid"], "best": best, "setting": setting})
    return rows


def curve_rows(model: str, curves: pl.DataFrame, metric: Metric) -> list[dict[str, Any]]:
    """Average the validation metric over the seeds of each epoch; mark the best epoch.

    There are none where another metric decided.
    """
    if f"valid_{metric.name}" not in curves.columns:
        return []
    means = curves.group_by("epoch").agg(pl.col(f"valid_{metric.name}").mean().alias("value")).sort("epoch")
    rows = list(means.iter_rows(named=True))
    best = min(rows, key=lambda row: metric.score(row["value"]), default=None)
    return [{"model": model, **row, "best": row is best} for row in rows]


def charts(
    tested: list[dict[str, Any]],
    result: dict[str, Any],
    cells: dict[str, dict[str, Any]],
    models: Sequence[str],
    metric: Metric,
) -> dict[str, specs.Spec]:
    """Make the charts of one data set, by name."""
    if not tested:
        return {}
    pareto = [
        {
            "model": row["model"],
            "mean": row[f"test_{metric.name}_mean"],
            "parameters": row["num_params"],
            "epoch": row["seconds_per_epoch"],
            "search": cells[row["model"]]["search_seconds"],
            "setting": format_setting(cells[row["model"]]["setting"]),
        }
        for row in tested
    ]
    made = {
        f"pareto-{cost}": specs.pareto_chart([row for row in pareto if row[cost]], models, metric, cost, title)
        for cost, title in {
            "search": "seconds of search",
            "epoch": "seconds an epoch",
            "parameters": "parameters",
        }.items()
    }
    made["curves"] = specs.curve_chart([row for each in cells.values() for row in each["curve"]], models, metric)
    made["search"] = specs.search_chart([row for each in cells.values() for row in each["trials"]], models, metric)
    if result["models"]:
        made["intervals"] = specs.interval_chart(interval_rows(result, metric), models, metric)
    if result["pairs"]:
        made["pairs"] = specs.pair_chart(
            pair_rows(result, metric), [entry["model"] for entry in result["models"]], metric
        )
    return made


def interval_rows(result: dict[str, Any], metric: Metric) -> list[dict[str, Any]]:
    """Give each model's mean, spread over seeds and interval over test rows."""
    rows = []
    for entry in result["models"]:
        mean, std = (entry[f"test_{metric.name}_{part}"] for part in ("mean", "std"))
        low, high = entry["interval"]
        texts = {"shown": figure(mean, std, metric.decimals), "interval": " … ".join(map(metric.format, (low, high)))}
        rows.append(
            {
                "model": entry["model"],
                "mean": mean,
                "low": mean - std,
                "high": mean + std,
                "from": low,
                "to": high,
                **texts,
            }
        )
    return rows


def pair_rows(result: dict[str, Any], metric: Metric) -> list[dict[str, Any]]:
    """Give each pair of models its difference and what the tests say."""
    return [
        {
            "a": pair["models"][0],
            "b": pair["models"][1],
            "difference": pair["difference"],
            "interval": " … ".join(metric.format(bound, sign="+") for bound in pair["interval"]),
            "p": pair["p"],
            "differ": "differ" if pair["differ"] else "not shown to differ",
            "shown": metric.format(pair["difference"], sign="+"),
        }
        for pair in result["pairs"]
    ]


if __name__ == "__main__":
    run(main)
