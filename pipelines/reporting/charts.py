"""Draw charts that are identical to the byte on every run.

Charts have a white background, so that they are readable on dark pages too. Each model has one colour. Variants of a
model ("IFM, from FM", "IFM, random") have its colour and different strokes. The colours are those of Okabe and Ito,
which colour-blind readers can distinguish, and some that differ clearly from these.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import ticker
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from pipelines.project.files import written_whole
from pipelines.project.metric import Metric
from pipelines.reporting.tables import far_off

INK, SOFT = "#333333", "#d0d0d0"
BLUE, SKY, GREEN, PURPLE, ORANGE, RED = "#0072b2", "#56b4e9", "#009e73", "#cc79a7", "#e69f00", "#d55e00"
BLACK, GREY, WINE, OLIVE, INDIGO = "#000000", "#555555", "#882255", "#999933", "#332288"
COLOURS = {  # of models; no chart that relies on colour alone has two models of one colour
    "lr": BLACK, "fm": GREY, "ffm": ORANGE, "afm": PURPLE, "afm_ffm": OLIVE, "nfm": GREEN, "deepfm": WINE,
    "ifm": BLUE, "inn": SKY, "deepifm": RED, "ifm_sampling": INDIGO, "ifm_full": RED, "fa_ifm": GREEN, "ia_ifm": PURPLE,
}  # fmt: skip
JOINED = "joined: no difference shown"
MEASURES = {"norm": "norm of F", "attention": "attention", "product": "variance of T · Fᵀ(V ⊙ V)"}  # of pairs
FRAME = {"ec": RED, "lw": 1.4}
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "factorbench",
    # Text stays text, so that files are small and searchable. matplotlib sets it in its own DejaVu Sans; Verdana is as
    # wide.
    "svg.fonttype": "none",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": SOFT,
    "grid.linewidth": 0.5,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
    "figure.constrained_layout.use": True,
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Draw with `STYLE`, and ignore the matplotlibrc of the machine."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def save(figure: Figure, path: Path, title: str) -> None:
    """Write a chart as SVG. Screen readers read `title`."""
    with style(), written_whole(path) as partial:
        figure.savefig(partial, format="svg", metadata={"Date": None, "Creator": None, "Title": title})


def model_of(label: str) -> str:
    """Return the model that a label names. Example: "IFM⁻, from FM" → "ifm_full"."""
    return label.split(",")[0].lower().replace("-", "_").replace("ifm⁻", "ifm_full")


def colour(label: str) -> str:
    """Return the colour of a model, given its name or a label."""
    return COLOURS.get(model_of(label), INK)


@style()
def reliability_chart(curves: Mapping[str, Sequence[tuple[float, float]]], title: str) -> Figure:
    """Draw the share of positives by mean probability, one line for each of two labels."""
    figure = Figure(figsize=(4.6, 4.2))
    axis = figure.subplots()
    axis.axline((0, 0), slope=1, color=SOFT, lw=1)
    for (label, points), own in zip(curves.items(), (ORANGE, BLUE), strict=True):
        axis.plot(*zip(*points, strict=True), marker="o", color=own, label=label)
    axis.set(title=title, xlabel="mean probability of the rows of a bin", ylabel="share of positives")
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)
    axis.legend()
    return figure


@style()
def interval_chart(results: Mapping[str, Any], metric: Metric) -> Figure:
    """Draw one panel per data set, with one row per model.

    Bars at the right join models without a shown difference. A model that is so much worse that the others could not be
    told apart has an arrow and its figure. `results` is the output of pipelines.significance.
    """
    heights = [max(2, len(result["models"])) for result in results.values()]
    figure = Figure(figsize=(7.5, 0.25 * sum(heights) + 0.8 * len(heights) + 0.6))
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (dataset, result) in zip(axes, results.items(), strict=True):
        place = {entry["model"]: row for row, entry in enumerate(result["models"])}
        right = axis.get_yaxis_transform()  # x from 0 to 1 over the axes, y in rows of models
        means = [entry[f"test_{metric.name}_mean"] for entry in result["models"]]
        for entry, far in zip(result["models"], far_off(means), strict=True):
            y = place[entry["model"]]
            mean, std = (entry[f"test_{metric.name}_{part}"] for part in ("mean", "std"))
            own = colour(entry["model"])
            if far:
                edge, aside, side, arrow = (
                    (0.01, 0.03, "left", "<") if metric.higher_is_better else (0.99, 0.97, "right", ">")
                )
                axis.plot(edge, y, arrow, ms=5, color=own, transform=right)
                axis.text(aside, y, metric.format(mean), ha=side, va="center", fontsize="small", transform=right)
                continue
            axis.hlines(y, *entry["interval"], color=own, alpha=0.3, lw=6)
            axis.hlines(y, mean - std, mean + std, color=own, lw=2)
            axis.plot(mean, y, "o", ms=5, color=own)
        for number, group in enumerate(result["groups"]):
            ends = [place[group[0]] - 0.25, place[group[-1]] + 0.25]
            axis.plot([1.03 + 0.02 * number] * 2, ends, color=BLACK, lw=3.5, transform=right, clip_on=False)
        if not place:
            axis.text(0.5, 0.5, "no model to compare", ha="center", va="center", transform=axis.transAxes)
        axis.set_yticks(range(len(place)), place)
        axis.set_ylim(max(len(place), 1) - 0.5, -0.5)
        axis.grid(axis="x")
        axis.grid(visible=False, axis="y")
        axis.tick_params(axis="y", length=0)
        axis.set(title=dataset, xlabel=f"test {metric.title} ({'better →' if metric.higher_is_better else '← better'})")
    joined = any(result["groups"] for result in results.values())
    meanings = [
        (Line2D([], [], color=INK, marker="o", ls="", ms=5), "mean over seeds"),
        (Line2D([], [], color=INK, lw=2), "± standard deviation over seeds"),
        (Line2D([], [], color=INK, lw=6, alpha=0.3), f"95 % over {metric.units}"),
        *([(Line2D([], [], color=BLACK, marker="|", ms=10, mew=3.5, ls=""), JOINED)] if joined else []),
    ]
    figure.legend(*zip(*meanings, strict=True), loc="outside lower center", ncols=2)
    return figure


@style()
def pair_chart(
    maps: Mapping[str, Mapping[tuple[str, str], float]], top: float, framed: set[tuple[str, str]], why: str
) -> Figure:
    """Draw one heat map of pair values per title. `top` is darkest; `why` explains the `framed` pairs."""
    names = list(dict.fromkeys(name for pairs in maps.values() for pair in zip(*pairs, strict=True) for name in pair))
    figure = Figure(figsize=(4.2 * len(maps), 4.2))
    axes = figure.subplots(1, len(maps), sharey=True, squeeze=False)[0]
    shades = mpl.colormaps["Blues"]
    for axis, (title, pairs) in zip(axes, maps.items(), strict=True):
        for (i, j), value in pairs.items():
            x, y = names.index(i), names.index(j)
            frame = FRAME if (i, j) in framed else {"ec": "white", "lw": 1}
            axis.add_patch(Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, fc=shades(value / top), **frame))
            words = f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"
            ink = "white" if value > 0.6 * top else "black"
            axis.text(x, y, words, ha="center", va="center", fontsize=7, color=ink)
        axis.set_title(title)
        axis.set_xticks(range(len(names) - 1), names[:-1], rotation=60, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(1, len(names)), names[1:])
        axis.set(xlim=(-0.5, len(names) - 1.5), ylim=(len(names) - 0.5, 0.5), aspect="equal")
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
        axis.grid(visible=False)
    if framed:
        figure.legend([Rectangle((0, 0), 1, 1, fc="white", **FRAME)], [why], loc="outside lower center")
    return figure


def importance_chart(measures: Mapping[str, Mapping[tuple[str, str], float]], framed: set[tuple[str, str]]) -> Figure:
    """Draw the share of each pair of fields by each measure of importance.

    `measures` has the pairs' values by the measure's title. `framed` pairs have the field that negatives replace.
    """
    maps: dict[str, dict[tuple[str, str], float]] = {}
    for title, pairs in measures.items():
        total = sum(pairs.values())
        maps[f"{title}, % of the sum"] = {pair: 100 * value / total for pair, value in pairs.items()}
    # the darkest colour is 10 % or more in all panels, so that equal shares look equal
    top = max(10, *(value for shares in maps.values() for value in shares.values()))
    return pair_chart(maps, top, framed, "pairs with the field that negatives replace")


@style()
def bar_chart(bars: Mapping[str, tuple[float, float]], title: str, x: str) -> Figure:
    """Draw one bar for each name, from the top: its length and standard deviation."""
    figure = Figure(figsize=(6, 0.25 * len(bars) + 1.2))
    axis = figure.subplots()
    lengths, spreads = zip(*bars.values(), strict=True)
    places = list(range(len(bars)))
    axis.barh(places, lengths, xerr=spreads if any(spreads) else None, color=BLUE, ecolor=INK, height=0.7)
    axis.set_yticks(places, [name if len(name) <= 40 else f"{name[:39]}…" for name in bars])
    axis.set_ylim(len(bars) - 0.5, -0.5)
    axis.grid(axis="x")
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)
    axis.set(title=title, xlabel=x)
    return figure


@style()
def point_chart(points: Mapping[str, Sequence[Sequence[float]]], title: str, x: str, y: str) -> Figure:
    """Draw points of one colour and shape for each label."""
    figure = Figure(figsize=(6.5, 4.6))
    axis = figure.subplots()
    colours = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY, BLACK, OLIVE, WINE, INDIGO)
    for number, (label, own) in enumerate(points.items()):
        shape = "os^vDP"[number // len(colours) % 6]
        axis.plot(*zip(*own, strict=True), shape, ms=3, color=colours[number % len(colours)], label=label)
    axis.set(title=title, xlabel=x, ylabel=y)
    figure.legend(loc="outside right upper")
    return figure


@style()
def spread_chart(
    panels: Mapping[str, Mapping[str, Mapping[str, tuple[float, float, float]]]], colours: Mapping[str, str], y: str
) -> Figure:
    """Draw one log-scaled panel per title, with a dot and bar per name and side.

    `panels[title][name][side]` is (least, middle, most): a bar from least to most and a dot at the middle. `colours`
    gives the order and colours of the sides.
    """
    figure = Figure(figsize=(9, 2.9 * len(panels)))
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axis, (title, names) in zip(axes, panels.items(), strict=True):
        for place, side in enumerate(colours):
            there = [(at, *sides[side]) for at, sides in enumerate(names.values()) if side in sides]
            x = [at + 0.13 * (place - (len(colours) - 1) / 2) for at, *_ in there]
            bars = [[middle - low for _, low, middle, _ in there], [high - middle for _, _, middle, high in there]]
            middles = [middle for _, _, middle, _ in there]
            axis.errorbar(x, middles, bars, fmt="o", ms=5, lw=1, color=colours[side], label=side)
        axis.set_xticks(range(len(names)), names)
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        axis.yaxis.set_minor_formatter(ticker.NullFormatter())
        axis.grid(axis="y", which="both")
        axis.set(title=title, ylabel=y)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(colours))
    return figure
