"""Describe the charts of the report as Vega-Lite specifications.

Each function takes rows of plain values and returns a dict, whose data stands within. A model has the same colour in
all charts of a page.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.project.metric import Metric

Spec = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]

# Paul Tol's muted and bright schemes, which colour-blind readers can distinguish, on white and on black.
PALETTE = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#cc6677", "#88ccee", "#44aa99", "#999933",
    "#117733", "#882255", "#ddcc77", "#aa4499", "#888888",
)  # fmt: skip
SHAPES = ("circle", "square", "cross", "diamond", "triangle-up", "triangle-down")


def chart(data: Rows, title: str, layers: Sequence[Spec], height: int = 320, **more: Any) -> Spec:
    """Combine layers that share their data. `title` says what a reader who can't see the chart must know."""
    return {
        "description": title,
        "width": "container",
        "height": height,
        "background": "transparent",
        "data": {"values": list(data)},
        "layer": list(layers),
        **more,
    }


def model_scale(models: Sequence[str]) -> dict[str, Spec]:
    """Give each model a colour and a shape. After `PALETTE`, colours come again with another shape."""
    colours = [PALETTE[number % len(PALETTE)] for number in range(len(models))]
    shapes = [SHAPES[(number + number // len(PALETTE)) % len(SHAPES)] for number in range(len(models))]
    return {
        "color": {"field": "model", "scale": {"domain": list(models), "range": colours}, "title": None},
        "shape": {"field": "model", "scale": {"domain": list(models), "range": shapes}, "title": None},
    }


def value(field: str, title: str, log: bool = False) -> Spec:
    """Describe an axis of numbers."""
    scale = {"type": "log"} if log else {"zero": False}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, "axis": {"tickCount": 8}}


def count(field: str, title: str) -> Spec:
    """Describe an axis of whole numbers."""
    return {**value(field, title), "axis": {"tickMinStep": 1, "format": "d"}}


def tooltip(titles: Mapping[str, str]) -> list[Spec]:
    """Show these fields when the pointer is on a mark."""
    return [{"field": field, "title": title} for field, title in titles.items()]


def better(metric: Metric) -> str:
    """Say to which side of an axis better values are."""
    return "higher is better" if metric.higher_is_better else "lower is better"


def interval_chart(rows: Rows, models: Sequence[str], metric: Metric) -> Spec:
    """Draw each model's mean, spread over seeds and 95 % interval over test rows.

    A row has model, mean, low, high (mean ± standard deviation), from and to (the interval).
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
        layer["encoding"] |= {"y": y, **colour, "tooltip": tooltip(titles)}
        layer["encoding"]["x"]["title"] = x["title"]
    return chart(rows, f"Test {metric.title} of each model, best first", layers, height=max(80, 26 * len(rows)))


def pareto_chart(rows: Rows, models: Sequence[str], metric: Metric, cost: str, title: str) -> Spec:
    """Draw quality against a cost, and join the models that no other beats in both.

    A row has model, mean, `cost` and setting.
    """
    front, best = [], math.inf
    for row in sorted(rows, key=lambda row: (row[cost], metric.score(row["mean"]))):
        if metric.score(row["mean"]) < best:
            best = metric.score(row["mean"])
            front.append(row["model"])
    data = [{**row, "front": row["model"] in front} for row in rows]
    x, y = value(cost, title, log=True), value("mean", f"test {metric.title} ({better(metric)})")
    titles = {"model": "model", "mean": f"test {metric.title}", cost: title, "setting": "setting"}
    points = {"x": x, "y": y, **model_scale(models), "tooltip": tooltip(titles)}
    layers = [
        {
            "transform": [{"filter": "datum.front"}],
            "mark": {"type": "line", "interpolate": "step-after", "opacity": 0.5, "strokeDash": [4, 3]},
            "encoding": {"x": x, "y": y},
        },
        {"mark": {"type": "point", "filled": True, "size": 90}, "encoding": points},
        {
            "transform": [{"filter": "datum.front"}],
            "mark": {"type": "text", "align": "left", "dx": 8, "dy": -6},
            "encoding": {"x": x, "y": y, "text": {"field": "model"}},
        },
    ]
    return chart(
        data, f"Test {metric.title} against {title}; no model is better in both than: {', '.join(front)}", layers
    )


def curve_chart(rows: Rows, models: Sequence[str], metric: Metric) -> Spec:
    """Draw validation metrics over epochs. A row has model, epoch, value and best, which marks the best epoch."""
    encoding = {
        "x": count("epoch", "epoch"),
        "y": value("value", f"valid {metric.title} ({better(metric)})"),
        "color": model_scale(models)["color"],
        "opacity": {"condition": {"param": "chosen", "value": 1}, "value": 0.15},
        "tooltip": tooltip({"model": "model", "epoch": "epoch", "value": f"valid {metric.title}"}),
    }
    chosen = {"name": "chosen", "select": {"type": "point", "fields": ["model"]}, "bind": "legend"}
    layers = [
        {"params": [chosen], "mark": "line", "encoding": encoding},
        {
            "transform": [{"filter": "datum.best"}],
            "mark": {"type": "point", "filled": True, "size": 60},
            "encoding": encoding,
        },
    ]
    return chart(rows, f"Validation {metric.title} of the final runs by epoch, means over the seeds", layers)


def search_chart(rows: Rows, models: Sequence[str], metric: Metric) -> Spec:
    """Draw the trials of searches, and the best so far.

    A row has model, trial, value, best (so far), state, setting and reason.
    """
    x, y = count("trial", "trial"), value("value", f"valid {metric.title} ({better(metric)})")
    colour = model_scale(models)["color"]
    chosen = {"name": "chosen", "select": {"type": "point", "fields": ["model"]}, "bind": "legend"}
    faded = {"condition": {"param": "chosen", "value": 1}, "value": 0.1}
    titles = {
        "model": "model",
        "trial": "trial",
        "value": f"valid {metric.title}",
        "state": "state",
        "setting": "setting",
    }
    layers = [
        {
            "params": [chosen],
            "mark": {"type": "line", "interpolate": "step-after"},
            "encoding": {"x": x, "y": {**value("best", ""), "title": y["title"]}, "color": colour, "opacity": faded},
        },
        {
            "mark": {"type": "point", "size": 50},
            "encoding": {
                "x": x,
                "y": y,
                "color": colour,
                "shape": {"field": "state", "title": "state"},
                "opacity": faded,
                "tooltip": tooltip({**titles, "reason": "reason"}),
            },
        },
    ]
    return chart(rows, f"Validation {metric.title} of each trial, and the best so far", layers)


def pair_chart(rows: Rows, ranked: Sequence[str], metric: Metric) -> Spec:
    """Draw the matrix of differences. A row has a, b, difference (a − b), p, differ and shown."""
    x = {"field": "b", "type": "nominal", "sort": list(ranked), "title": None, "axis": {"labelAngle": -45}}
    y = {"field": "a", "type": "nominal", "sort": list(ranked), "title": None}
    titles = {"a": "model", "b": "other", "difference": "difference", "interval": f"95 % over {metric.units}", "p": "p"}
    layers = [
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
        {
            "mark": {"type": "text", "fontSize": 9, "color": "white"},
            "encoding": {"x": x, "y": y, "text": {"field": "shown"}},
        },
    ]
    return chart(rows, "Differences between the models of each pair", layers, height=max(80, 28 * len(ranked)))
