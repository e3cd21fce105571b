"""Draw panels of lines, of which each variant of a model has its own stroke."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib import ticker
from matplotlib.figure import Figure

from pipelines.reporting.charts import colour, model_of, style

STROKES = ("solid", "dashed", "dotted", "dashdot")  # of the variants of a model


@dataclass(frozen=True)
class Panel:
    """Describe one pair of axes of a line chart. `lines` has the points of each label.

    `ticks`: words for x = 0, 1, …
    `epochs`: x has a log scale, points have no dots, and the first tenth of a line may lie above the top.
    `zero`: y starts at 0.
    """

    title: str
    x: str
    y: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    ticks: Sequence[str] = ()
    epochs: bool = False
    zero: bool = False


@style()
def line_chart(rows: Sequence[Sequence[Panel]], height: float) -> Figure:
    """Draw panels with one line per label. Each row of panels is `height` inches high."""
    figure = Figure(figsize=(4.6 * len(rows[0]), height * len(rows)))
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for axis, panel in zip(axes.flat, (panel for row in rows for panel in row), strict=True):
        seen: dict[str, int] = {}
        for label, points in panel.lines.items():
            model = model_of(label)
            stroke = STROKES[seen.get(model, 0) % len(STROKES)]
            seen[model] = seen.get(model, 0) + 1
            marker = "" if panel.epochs else "o"
            axis.plot(*zip(*points, strict=True), marker=marker, ls=stroke, color=colour(label), label=label)
        if panel.epochs:
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
            axis.xaxis.set_minor_locator(ticker.NullLocator())
            later = [y for line in panel.lines.values() for _, y in line[len(line) // 10 :]]
            axis.set_ylim(top=min(axis.get_ylim()[1], 1.5 * max(later) - 0.5 * min(later)))
        if panel.zero:
            axis.set_ylim(bottom=0)
        if panel.ticks:
            axis.set_xticks(range(len(panel.ticks)), panel.ticks)
        axis.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
        if len(panel.lines) > 1:
            columns = 1 if max(map(len, panel.lines)) > 25 else 2
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=columns, handlelength=3)
    return figure
