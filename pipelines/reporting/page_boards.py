"""Make the columns, rows and sentences of a board on the page of results."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipelines.data.card import Card
from pipelines.data.catalog import Dataset
from pipelines.data.own import OwnDataset
from pipelines.project.metric import METRICS, Metric
from pipelines.project.params import Params
from pipelines.reporting.board import format_figure
from pipelines.reporting.tables import figure


def negatives(entry: Dataset | OwnDataset, config: Params) -> str:
    """Say how a data set's negatives were made; nothing where it came with both classes."""
    if isinstance(entry, OwnDataset):
        made, number = entry.negatives, entry.negatives.count if entry.negatives else 0
    else:
        made, number = entry, 0 if entry.format == "libfm" else config.prepare.num_negatives
    if not (made and made.replace):
        return ""
    said = f"A negative is a row of the log with another {made.replace}, one that never occurs with the row's "
    return f"{said}{' and '.join(made.given)}{f'; each row has {number}' if number else ''}."


def bounds(card: Card | None) -> list[str]:
    """Write the best figures on a generated log, with the training rows known and without."""
    if not (card and card.planted):
        return []
    known = card.planted.reachable
    return [
        ", ".join(f"{METRICS[name].title} {METRICS[name].format(value)}" for name, value in each.items())
        for each in (known.best, known.without_rows)
    ]


def board_columns(
    shown: Mapping[str, str],
    figures: Mapping[str, Mapping[str, Any]],
    models: Sequence[str],
    card: Card | None,
    metric: Metric,
) -> dict[str, str]:
    """Add family, year, published figures and the way to the best to the board's columns."""
    rest = {name: title for name, title in shown.items() if name not in ("model", "published")}
    first = f"test_{metric.name}"
    found = {"model": "model", first: rest.pop(first)}
    if card and card.planted and metric.name in card.planted.reachable.best:
        found["from_best"] = "to the best reachable"
    for name, of_models in figures.items():
        if any(model in of_models for model in models):
            found[f"published_{name}"] = f"published {METRICS[name].title}"
    return {**found, **rest, "family": "family", "year": "year"}


def table_row(
    row: dict[str, Any],
    shown: Iterable[str],
    known: Any,
    figures: Mapping[str, Mapping[str, Any]],
    card: Card | None,
    metric: Metric,
) -> dict[str, Any]:
    """Make a model's row of the board: its cells as pairs of text and sorting value, and by what it is filtered."""
    value, std = row[f"test_{metric.name}_mean"], row[f"test_{metric.name}_std"]
    more: dict[str, tuple[str, Any]] = {
        "family": (known.family, known.family),
        "year": (str(known.year or "–"), known.year),
    }
    if "from_best" in shown and card and card.planted:
        distance = abs(value - card.planted.reachable.best[metric.name])
        more["from_best"] = (metric.format(distance), distance)
    for name, of_models in figures.items():
        each = of_models.get(row["model"])
        more[f"published_{name}"] = (METRICS[name].format(each.value), each.value) if each else ("–", None)
    cells = [more.get(name) or (format_figure(row, name), row.get(f"{name}_mean", row.get(name))) for name in shown]
    return {
        "model": row["model"],
        "cells": dict(zip(shown, cells, strict=True)),
        "value": value,
        "std": std or 0.0,
        "family": known.family,
        "year": known.year,
        "size": row["num_params"],
        "submission": None,
    }


def submitted_row(submission: Any, shown: Iterable[str], metric: Metric) -> dict[str, Any]:
    """Make a submission's row of the board."""
    values = {name: (submission.mean(name), submission.std(name)) for name in METRICS}
    cells: dict[str, tuple[str, Any]] = {"model": (submission.model, submission.model)}
    for name, (mean, std) in values.items():
        cells[f"test_{name}"] = (figure(mean, std, METRICS[name].decimals), mean)
    cells["num_params"] = (f"{submission.num_params:,}", submission.num_params)
    cells["num_seeds"] = (str(len(submission.seeds)), len(submission.seeds))
    return {
        "model": submission.model,
        "cells": {name: cells.get(name, ("–", None)) for name in shown},
        "value": values[metric.name][0],
        "std": values[metric.name][1] or 0.0,
        "family": "submitted",
        "year": None,
        "size": submission.num_params,
        "submission": submission,
    }


def with_bars(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add where a row's mean and spread stand between the board's ends, in percent."""
    ends = [row["value"] + sign * row["std"] for row in rows for sign in (-1, 1)]
    low, width = min(ends, default=0.0), max(ends, default=0.0) - min(ends, default=0.0)

    def place(value: float) -> float:
        return round(100 * (value - low) / width, 2) if width else 50.0

    return [
        {
            **row,
            "bar": (place(row["value"] - row["std"]), place(row["value"]), place(row["value"] + row["std"])),
        }
        for row in rows
    ]


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


def so_far(trials: Sequence[Mapping[str, Any]], metric: Metric) -> str:
    """Say how far a search without results is."""
    if not trials:
        return "not run yet"
    best = trials[-1]["best"]
    found = f", the best with valid {metric.title} {metric.format(best)}" if best is not None else ""
    return f"not finished: {len(trials)} trials{found}"
