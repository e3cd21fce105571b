"""Make the charts of the page of results from the rows that it shows."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.data.card import Card
from pipelines.project.metric import Metric
from pipelines.project.settings import format_setting
from pipelines.reporting import specs, specs_of_models, specs_of_searches
from pipelines.reporting.tables import far_off, figure

COSTS = {
    "search": "seconds of search",
    "epoch": "seconds an epoch",
    "parameters": "parameters",
    "memory": "MiB of memory",
}


def charts(
    tested: list[dict[str, Any]],
    result: dict[str, Any],
    cells: dict[str, dict[str, Any]],
    begun: list[dict[str, Any]],
    models: Sequence[str],
    card: Card | None,
    metric: Metric,
) -> dict[str, specs.Spec]:
    """Make the charts of one data set, by name. `begun` are trials of searches without results."""
    trials = [row for each in cells.values() for row in each["trials"]] + begun
    made = {"search": specs_of_searches.search_chart(trials, models, metric)} if trials else {}
    if not tested:
        return made
    pareto = [
        {
            "model": row["model"],
            "mean": row[f"test_{metric.name}_mean"],
            "parameters": row["num_params"],
            "epoch": row["seconds_per_epoch"],
            "search": row["search_seconds"],
            "memory": row["peak_memory_mb"],
            "setting": format_setting(cells[row["model"]]["setting"]),
        }
        for row in tested
    ]
    for cost, title in COSTS.items():
        if known := [row for row in pareto if row[cost]]:
            made[f"pareto-{cost}"] = specs_of_models.pareto_chart(known, models, metric, cost, title)
    made["curves"] = specs_of_searches.curve_chart(
        [row for each in cells.values() for row in each["curve"]], models, metric
    )
    if result["models"]:
        bounds = card.planted.reachable if card and card.planted else None
        known = {
            "best possible": bounds.best.get(metric.name) if bounds else None,
            "truth alone": bounds.without_rows.get(metric.name) if bounds else None,
        }
        lines = [{"bound": name, "at": value} for name, value in known.items() if value is not None]
        made["intervals"] = specs_of_models.interval_chart(interval_rows(result, metric), models, metric, lines)
    if result["pairs"]:
        made["pairs"] = specs_of_models.pair_chart(
            pair_rows(result, metric), [entry["model"] for entry in result["models"]], metric
        )
    if card and card.planted:
        made["planted"] = specs_of_models.heat_map(
            pair_strengths(card.planted.strengths, card), list(card.field_dims), "strength"
        )
    colours = specs.colours(models)
    for model, each in cells.items():
        found = model_charts(each, card, metric, colours[model])
        made |= {f"model/{model}/{name}": spec for name, spec in found.items()}
    return made


def model_charts(cell: dict[str, Any], card: Card | None, metric: Metric, colour: str) -> dict[str, specs.Spec]:
    """Make the charts of one model on one data set."""
    made = {}
    if len(cell["curve"]) > 1:
        made["curve"] = specs_of_searches.single_curve(cell["curve"], metric, colour)
    if cell["importances"]:
        rows = [{"key": key.partition(".")[2], "share": share} for key, share in cell["importances"].items()]
        made["importances"] = specs_of_searches.importance_chart(rows)
    placed = [row for row in cell["trials"] if row["places"] and row["value"] is not None]
    if len(placed) > 1:
        made["settings"] = specs_of_searches.parallel_chart(placed, cell["space"], metric)
    if cell["interactions"] and card:
        made["pairs"] = specs_of_models.heat_map(
            pair_strengths(cell["interactions"], card), list(card.field_dims), "together, in logits"
        )
    return made


def pair_strengths(strengths: Mapping[str, float], card: Card) -> list[dict[str, Any]]:
    """Give each pair of fields its strength, in the order of the fields."""
    fields = list(card.field_dims)
    pairs = [(a, b) for place, a in enumerate(fields) for b in fields[place + 1 :]]
    return [{"a": a, "b": b, "strength": strengths[f"{a}-{b}"]} for a, b in pairs if f"{a}-{b}" in strengths]


def interval_rows(result: dict[str, Any], metric: Metric) -> list[dict[str, Any]]:
    """Give each model's mean, spread over seeds and interval over test rows.

    `far` tells whether the mean is far off the best.
    """
    rows, means = [], [entry[f"test_{metric.name}_mean"] for entry in result["models"]]
    for entry, far in zip(result["models"], far_off(means), strict=True):
        mean, std = (entry[f"test_{metric.name}_{part}"] for part in ("mean", "std"))
        low, high = entry["interval"]
        texts = {"shown": figure(mean, std, metric.decimals), "interval": " … ".join(map(metric.format, (low, high)))}
        spread = {"low": mean - std, "high": mean + std, "from": low, "to": high}
        rows.append({"model": entry["model"], "mean": mean, "far": far, **spread, **texts})
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
