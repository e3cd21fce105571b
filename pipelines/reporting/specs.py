"""Give the charts of the report, which are Vega-Lite specifications, their common parts.

Each function of the modules specs_of_models and specs_of_searches takes rows of plain values and returns a dict, whose
data stands within. A model has the same colour in all charts of a page.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.project.metric import Metric

Spec = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]

PALETTE = (  # Paul Tol's bright scheme, and colours that colour-blind readers can tell from it and from each other
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377",
    "#5555dd", "#77ddbb", "#cc0011", "#ffbb88", "#8899ff", "#dd7755",
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


def compact(charts: Mapping[str, Spec]) -> dict[str, Any]:
    """Keep each specification once; charts of one kind differ only in their data and title."""
    kinds: dict[str, int] = {}
    places = {}
    for name, spec in charts.items():
        rest = {key: value for key, value in spec.items() if key not in ("data", "description")}
        kind = kinds.setdefault(json.dumps(rest), len(kinds))
        places[name] = {"kind": kind, "rows": spec["data"]["values"]}
    return {"kinds": [json.loads(text) for text in kinds], "charts": places}
