"""results.svg from results.json: seconds an epoch a side, on a log scale. Needs matplotlib, in .venv/picture."""

import json
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import matplotlib.ticker
from report import TITLES, VERDICT_SIDES, by_cell

MODELS = ("fm", "deepfm", "nfm", "afm", "ffm", "ifm", "inn", "deepifm")
COLOURS = ("#56b4e9", "#0072b2", "#009e73", "#cc79a7", "#7f7f7f", "#d55e00")
WIDTH = 0.13  # between sides


def draw(results: Path) -> None:
    """A panel a shape and batch size; the cells with dropout, and those without for the models that have none."""
    content = json.loads(results.read_text("utf-8"))
    cells = by_cell(content["records"])
    panels = sorted({cell[:2] for cell in cells}, key=lambda panel: (panel[0], -panel[1]))
    mpl.rcParams["svg.hashsalt"] = "factorbench"
    figure, axes = plt.subplots(len(panels), 1, figsize=(9, 2.9 * len(panels)), squeeze=False, layout="constrained")
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        shown = [
            max((cell for cell in cells if cell[:3] == (*panel, model)), key=lambda cell: cell[3])
            for model in MODELS
            if any(cell[:3] == (*panel, model) for cell in cells)
        ]
        for place, side in enumerate(VERDICT_SIDES):
            there = [(x, cells[cell][side]) for x, cell in enumerate(shown) if side in cells[cell]]
            middle = [record["median"] for _, record in there]
            spread = [
                [record["median"] - record["min"] for _, record in there],
                [record["max"] - record["median"] for _, record in there],
            ]
            at = [x + (place - (len(VERDICT_SIDES) - 1) / 2) * WIDTH for x, _ in there]
            axis.errorbar(at, middle, spread, fmt="o", ms=5, lw=1, color=COLOURS[place], label=TITLES[side])
        axis.set_xticks(range(len(shown)), [f"{c[2]}\ndropout {c[3]}" if c[3] else c[2] for c in shown])
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:g}"))
        axis.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())
        axis.set_ylabel("seconds an epoch")
        axis.set_title(f"{panel[0]}, batch {panel[1]}", loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", which="both", lw=0.3)
        axis.set_axisbelow(True)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=6, frameon=False)
    figure.savefig(results.with_suffix(".svg"), metadata={"Date": None})


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
