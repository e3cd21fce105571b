"""Describe the charts of searches and of final runs as Vega-Lite specifications."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.project.metric import Metric
from pipelines.reporting.specs import PALETTE, Rows, Spec, better, chart, count, model_scale, tooltip, value

DRAWN = ("paper's setting", "at random", "by the sampler")  # what chose a trial's setting


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


def single_curve(rows: Rows, metric: Metric, colour: str) -> Spec:
    """Draw one model's validation metric over epochs, in its colour. A row has epoch, value and best."""
    encoding = {
        "x": count("epoch", "epoch"),
        "y": value("value", f"valid {metric.title}"),
        "tooltip": tooltip({"epoch": "epoch", "value": f"valid {metric.title}"}),
    }
    layers = [
        {"mark": {"type": "line", "color": colour}, "encoding": encoding},
        {
            "transform": [{"filter": "datum.best"}],
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1, "color": colour},
            "encoding": encoding,
        },
    ]
    best = next((row["epoch"] for row in rows if row["best"]), None)
    return chart(rows, f"Validation {metric.title} by epoch, mean over the seeds; best in epoch {best}", layers, 220)


def search_chart(rows: Rows, models: Sequence[str], metric: Metric) -> Spec:
    """Draw the trials of searches, and the best so far.

    A row has model, trial, value, best (so far), state, drawn (what chose its setting), setting and reason. Places in
    the search space are left out.
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
        "drawn": "setting drawn",
        "setting": "setting",
    }
    drawn = {"domain": list(DRAWN), "range": ["diamond", "circle", "triangle-up"]}
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
                "shape": {"field": "drawn", "scale": drawn, "title": "setting"},
                "opacity": faded,
                "tooltip": tooltip(titles),
            },
        },
    ]
    data = [{key: row[key] for key in ("best", *titles)} for row in rows]
    return chart(data, f"Validation {metric.title} of each trial, and the best so far", layers)


def places(setting: Mapping[str, Any], space: Mapping[str, Any]) -> dict[str, float]:
    """Say where each value of a setting is in its range, from 0 to 1."""
    found = {}
    for key, each in setting.items():
        distribution = space.get(key)
        choices = getattr(distribution, "choices", None)
        if distribution is None or each is None or (choices and each not in choices):
            continue
        if choices:
            at = choices.index(each) / max(1, len(choices) - 1)
        else:
            low, high, at = distribution.low, distribution.high, each
            if distribution.log:
                low, high, at = math.log(low), math.log(high), math.log(at)
            at = (at - low) / (high - low) if high > low else 0.5
        found[key.rpartition(".")[2]] = round(at, 3)
    return found


def parallel_chart(rows: Rows, space: Mapping[str, Any], metric: Metric) -> Spec:
    """Draw each trial as a line through its values, with the paper's setting marked.

    A row has trial, value, setting, and places by key. Ranges go from the bottom to the top.
    """
    keys = list(rows[0]["places"])
    order = sorted((row["value"] for row in rows), key=metric.score)
    ranks = {each: place for place, each in enumerate(order)}
    data = [
        {
            "key": key,
            "at": row["places"].get(key),
            **{name: row[name] for name in ("trial", "value", "setting")},
            "good": 1 - ranks[row["value"]] / max(1, len(order) - 1),
        }
        for row in rows
        for key in keys
    ]
    ends = {key.rpartition(".")[2]: distribution for key, distribution in space.items()}
    texts = [
        {"key": key, "at": at, "end": end} for key in keys for at, end in zip((0, 1), of_range(ends[key]), strict=True)
    ]
    x = {"field": "key", "type": "nominal", "sort": keys, "title": None, "scale": {"padding": 0.4}}
    x["axis"] = {"labelAngle": -30, "grid": True, "labelLimit": 140}
    y = {"field": "at", "type": "quantitative", "axis": None, "scale": {"domain": [-0.08, 1.08], "nice": False}}
    titles = {"trial": "trial", "value": f"valid {metric.title}", "setting": "setting"}
    lines = {
        "x": x,
        "y": y,
        "detail": {"field": "trial"},
        "opacity": {"field": "good", "type": "quantitative", "scale": {"range": [0.15, 1]}, "legend": None},
        "tooltip": tooltip(titles),
    }
    paper = {"type": "line", "strokeDash": [6, 3], "strokeWidth": 3, "color": "#cc3311"}
    layers = [
        {"mark": {"type": "line", "strokeWidth": 2, "color": PALETTE[0]}, "encoding": lines},
        {
            "transform": [{"filter": "datum.trial === 0"}],
            "mark": paper,
            "encoding": {key: lines[key] for key in ("x", "y", "tooltip")},
        },
        {
            "data": {"values": texts},
            "mark": {"type": "text", "dy": {"expr": "datum.at ? -8 : 10"}, "fontSize": 10},
            "encoding": {"x": x, "y": y, "text": {"field": "end"}},
        },
    ]
    return chart(
        data, f"Settings of {len(rows)} trials, the better the bluer; dashed: the paper's setting", layers, 260
    )


def of_range(distribution: Any) -> tuple[str, str]:
    """Write the two ends of a range, or the first and the last choice."""
    choices = getattr(distribution, "choices", None) or (distribution.low, distribution.high)
    return tuple(f"{each:.3g}" if isinstance(each, float) else str(each) for each in (choices[0], choices[-1]))  # type: ignore[return-value]


def importance_chart(rows: Rows) -> Spec:
    """Draw the importance of each key of a search. A row has key and share."""
    x = {"field": "share", "type": "quantitative", "title": "share of what mattered", "axis": {"format": "%"}}
    y = {"field": "key", "type": "nominal", "sort": [row["key"] for row in rows], "title": None}
    encoding = {"x": x, "y": y, "tooltip": [{"field": "key"}, {"field": "share", "format": ".0%"}]}
    layers = [{"mark": {"type": "bar", "color": PALETTE[0]}, "encoding": encoding}]
    most = ", ".join(f"{row['key']} {row['share']:.0%}" for row in rows[:3])
    return chart(rows, f"What mattered in the search: {most}", layers, height=max(60, 24 * len(rows)))
