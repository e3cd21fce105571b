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

DRAWN = ("paper's setting", "at random", "by the sampler")  # what chose a trial's setting
PALETTE = (  # Paul Tol's bright scheme, and colours that colour-blind readers can tell from it and from each other
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377",
    "#5555dd", "#77ddbb", "#cc0011", "#ffbb88", "#8899ff", "#dd7755",
)  # fmt: skip
NARROW = 42  # pixels, below which no figure fits into a cell
MOST_NAMES = 12  # of models beside their points
MOST_TEXTS = 16  # of models whose matrix has texts in its cells
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


def colours(models: Sequence[str]) -> dict[str, str]:
    """Give each model its colour. After `PALETTE`, colours come again."""
    return {model: PALETTE[number % len(PALETTE)] for number, model in enumerate(models)}


def model_scale(models: Sequence[str]) -> dict[str, Spec]:
    """Give each model a colour and a shape. After `PALETTE`, colours come again with another shape."""
    found = list(colours(models).values())
    shapes = [SHAPES[(number + number // len(PALETTE)) % len(SHAPES)] for number in range(len(models))]
    return {
        "color": {"field": "model", "scale": {"domain": list(models), "range": found}, "title": None},
        "shape": {"field": "model", "scale": {"domain": list(models), "range": shapes}, "title": None},
    }


def value(field: str, title: str, log: bool = False) -> Spec:
    """Describe an axis of numbers."""
    scale = {"type": "log"} if log else {"zero": False}
    axis = {"tickCount": 4, "format": "~s"} if log else {"tickCount": 6}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, "axis": axis}


def count(field: str, title: str) -> Spec:
    """Describe an axis of whole numbers."""
    whole: Spec = {"labelExpr": "datum.value % 1 ? '' : datum.label"}  # of few values, Vega marks halves too
    for mark in ("grid", "tick"):
        whole[f"{mark}Opacity"] = {"condition": {"test": "datum.value % 1", "value": 0}, "value": 1}
    return {**value(field, title), "axis": {"tickMinStep": 1, "format": "d", **whole}}


def tooltip(titles: Mapping[str, str]) -> list[Spec]:
    """Show these fields when the pointer is on a mark."""
    return [{"field": field, "title": title} for field, title in titles.items()]


def better(metric: Metric) -> str:
    """Say to which side of an axis better values are."""
    return "higher is better" if metric.higher_is_better else "lower is better"


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
