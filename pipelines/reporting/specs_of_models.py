"""Describe the charts that compare models, or fields, as Vega-Lite specifications."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.project.metric import Metric
from pipelines.reporting.specs import Rows, Spec, better, chart, model_scale, tooltip, value

NARROW = 42  # pixels, below which no figure fits into a cell
MOST_NAMES = 12  # of models beside their points
MOST_TEXTS = 16  # of models whose matrix has texts in its cells


def interval_chart(rows: Rows, models: Sequence[str], metric: Metric, bounds: Rows = ()) -> Spec:
    """Draw each model's mean, spread over seeds and 95 % interval over test rows.

    A row has model, mean, low, high (mean ± standard deviation), from and to (the interval), and `far` where it would
    leave the others no room: then it has an arrow and its figure. A bound has its name, and the value at which a line
    stands.
    """
    y = {"field": "model", "type": "nominal", "sort": [row["model"] for row in rows], "title": None}
    colour = {"color": {**model_scale(models)["color"], "legend": None}}
    x = value("from", f"test {metric.title} ({better(metric)})")
    titles = {"model": "model", "shown": f"test {metric.title}", "interval": f"95 % over {metric.units}"}
    layers = [
        {"mark": {"type": "bar", "height": 10, "opacity": 0.3}, "encoding": {"x": x, "x2": {"field": "to"}}},
        {"mark": {"type": "rule", "size": 3}, "encoding": {"x": value("low", ""), "x2": {"field": "high"}}},
        {"mark": {"type": "point", "filled": True, "size": 70}, "encoding": {"x": value("mean", "")}},
    ]
    for layer in layers:
        layer["encoding"]["x"]["title"] = x["title"]
    if any(row["far"] for row in rows):
        for layer in layers:
            layer["transform"] = [{"filter": "!datum.far"}]
        left = metric.higher_is_better
        edge: Spec = {"align": "left", "x": 4} if left else {"align": "right", "x": {"expr": "width - 4"}}
        arrow = "'◂ ' + datum.shown" if left else "datum.shown + ' ▸'"
        aside: Spec = {"mark": {"type": "text", **edge}, "encoding": {"text": {"field": "aside"}}}
        layers.append({**aside, "transform": [{"filter": "datum.far"}, {"calculate": arrow, "as": "aside"}]})
    for layer in layers:
        layer["encoding"] |= {"y": y, **colour, "tooltip": tooltip(titles)}
    if bounds:
        at = {"x": {**value("at", x["title"])}, "tooltip": tooltip({"bound": "bound", "at": f"test {metric.title}"})}
        rule = {"type": "rule", "strokeDash": [5, 3], "size": 2, "color": "#888888"}
        data, side = {"values": list(bounds)}, -1 if metric.higher_is_better else 1
        text = {
            "type": "text",
            "align": "left" if side > 0 else "right",
            "baseline": "bottom",
            "dx": 5 * side,
            "dy": -4,
        }
        named = {"x": at["x"], "y": {"value": "height"}, "text": {"field": "bound"}}  # where no model's bar is
        layers += [{"data": data, "mark": rule, "encoding": at}, {"data": data, "mark": text, "encoding": named}]
    return chart(rows, f"Test {metric.title} of each model, best first", layers, height=max(80, 26 * len(rows)))


def pareto_chart(rows: Rows, models: Sequence[str], metric: Metric, cost: str, title: str) -> Spec:
    """Draw quality against a cost, and join the models that no other beats in both.

    A row has model, mean, `cost` and setting. Few models have their names beside them, of many only the joined ones.
    """
    front, best = [], math.inf
    for row in sorted(rows, key=lambda row: (row[cost], metric.score(row["mean"]))):
        if metric.score(row["mean"]) < best:
            best = metric.score(row["mean"])
            front.append(row["model"])
    few = len(rows) <= MOST_NAMES
    data = [{**row, "front": row["model"] in front, "score": metric.score(row["mean"])} for row in rows]
    order = [{"field": cost}, {"field": "score"}]
    joined: list[Spec] = [  # the front of those models that are shown
        {"window": [{"op": "min", "field": "score", "as": "so_far"}], "sort": order},
        {"window": [{"op": "lag", "field": "so_far", "as": "before"}], "sort": order},
        {"filter": "datum.before === null || datum.score < datum.before"},
    ]
    x, y = value(cost, title, log=True), value("mean", f"test {metric.title} ({better(metric)})")
    titles = {"model": "model", "mean": f"test {metric.title}", cost: title, "setting": "setting"}
    scale = {key: {**each, "legend": None} if few else each for key, each in model_scale(models).items()}
    layers = [
        {
            "transform": joined,
            "mark": {"type": "line", "interpolate": "step-after", "opacity": 0.5, "strokeDash": [4, 3]},
            "encoding": {"x": x, "y": y},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
            "encoding": {"x": x, "y": y, **scale, "tooltip": tooltip(titles)},
        },
        {
            "transform": [] if few else joined,
            "mark": {"type": "text", "align": "left", "dx": 8, "dy": -6},
            "encoding": {"x": x, "y": y, "text": {"field": "model"}},
        },
    ]
    return chart(
        data, f"Test {metric.title} against {title}; no model is better in both than: {', '.join(front)}", layers
    )


def heat_map(rows: Rows, fields: Sequence[str], title: str) -> Spec:
    """Draw the strength of each pair of fields. A row has a, b (the later field) and strength."""
    x = {"field": "a", "type": "nominal", "sort": list(fields), "title": None, "axis": {"labelAngle": -45}}
    y = {"field": "b", "type": "nominal", "sort": list(fields), "title": None}
    colour = {"field": "strength", "type": "quantitative", "title": title, "scale": {"scheme": "viridis"}}
    shown = {"field": "strength", "title": title, "format": ".2f"}
    encoding = {"x": x, "y": y, "color": colour, "tooltip": [{"field": "a"}, {"field": "b"}, shown]}
    strongest = sorted(rows, key=lambda row: -row["strength"])[:3]
    named = ", ".join(f"{row['a']} and {row['b']}" for row in strongest)
    return chart(
        rows,
        f"Strength of each pair of fields; the strongest: {named}",
        [{"mark": "rect", "encoding": encoding}],
        height=max(120, 26 * len(fields)),
    )


def rank_chart(result: Mapping[str, Any], models: Sequence[str]) -> Spec:
    """Draw each model's mean rank, with half the critical difference to each side."""
    half = result["critical_difference"] / 2
    rows = [
        {"model": model, "rank": rank, "low": rank - half, "high": rank + half}
        for model, rank in result["ranks"].items()
    ]
    y = {"field": "model", "type": "nominal", "sort": [row["model"] for row in rows], "title": None}
    x = {"field": "rank", "type": "quantitative", "title": "mean rank (lower is better)", "scale": {"zero": False}}
    x["axis"] = {"tickCount": 6}
    colour = {"color": {**model_scale(models)["color"], "legend": None}}
    shared = {
        "y": y,
        **colour,
        "tooltip": [{"field": "model"}, {"field": "rank", "title": "mean rank", "format": ".2f"}],
    }
    layers = [
        {
            "mark": {"type": "rule", "size": 3},
            "encoding": {**shared, "x": {**x, "field": "low"}, "x2": {"field": "high"}},
        },
        {"mark": {"type": "point", "filled": True, "size": 80, "opacity": 1}, "encoding": {**shared, "x": x}},
    ]
    for layer in layers:
        layer["encoding"]["x"]["title"] = x["title"]
    return chart(rows, f"Mean ranks over {len(result['datasets'])} data sets", layers, height=max(80, 26 * len(rows)))


def pair_chart(rows: Rows, ranked: Sequence[str], metric: Metric) -> Spec:
    """Draw the matrix of differences. A row has a, b, difference (a − b), p, differ and shown."""
    x = {"field": "b", "type": "nominal", "sort": list(ranked), "title": None, "axis": {"labelAngle": -45}}
    y = {"field": "a", "type": "nominal", "sort": list(ranked), "title": None}
    titles = {"a": "model", "b": "other", "difference": "difference", "interval": f"95 % over {metric.units}", "p": "p"}
    layers: list[Spec] = [
        {
            "mark": "rect",
            "encoding": {
                "x": x,
                "y": y,
                "color": {
                    "field": "differ",
                    "type": "nominal",
                    "scale": {"domain": ["differ", "not shown to differ"], "range": ["#4477aa", "#757575"]},
                    "title": None,
                },
                "tooltip": tooltip(titles),
            },
        },
    ]
    if len(ranked) <= MOST_TEXTS:
        fits = {"expr": f"bandwidth('x') < {NARROW} ? 0 : 1"}
        mark = {"type": "text", "fontSize": 10, "color": "white", "opacity": fits}
        layers.append({"mark": mark, "encoding": {"x": x, "y": y, "text": {"field": "shown"}}})
    return chart(
        rows, "Differences between the models of each pair", layers, height=max(80, min(28 * len(ranked), 800))
    )
