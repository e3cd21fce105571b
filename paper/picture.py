"""Draw the tables of figures.py as SVG. Needs matplotlib, in ../benchmarks/.venv/picture."""

import csv
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

COLOURS = {  # of a label, in all figures
    "FM": "#7f7f7f",
    "FA-IFM": "#009e73",
    "IA-IFM": "#cc79a7",
    "IFM": "#0072b2",
    "IFM⁻": "#d55e00",
}
OTHERS = ("#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#009e73", "#7f7f7f")
TITLES = {"frappe-nfm": "Frappe", "movielens": "MovieLens tags", "generated": "generated, 40 fields"}
AXES = {
    "epoch": "epoch",
    "keep_probability": "keep probability",
    "l2_field": "λ_F",
    "field_embed_dim": "K_F",
    "share": "share of the pairs that a batch sees",
    "valid_rmse": "validation RMSE",
    "seconds_per_epoch": "seconds an epoch",
}
EVEN = ("l2_field", "field_embed_dim")  # axes whose values stand side by side, at even distances
MEASURES = {"norm": "norm of F", "attention": "attention", "product": "variance of T · Fᵀ(V ⊙ V)"}


def main(tables: Path, importance: Path, folder: Path) -> None:
    """A picture a figure, a panel a data set; the heat maps of the pairs of fields."""
    mpl.rcParams.update({"svg.hashsalt": "factorbench", "font.size": 9})
    folder.mkdir(parents=True, exist_ok=True)
    for figure in sorted({path.stem.split("-")[0] for path in tables.glob("*.csv")}):
        files = sorted(tables.glob(f"{figure}-*.csv"))
        draw = draw_sampling if figure == "sampling" else draw_lines
        save(draw({path.stem.split("-", 1)[1]: read(path) for path in files}), folder / f"{figure}.svg")
    save(draw_pairs(read(importance)), folder / "importance.svg")


def read(path: Path) -> dict[str, list[str]]:
    """A table's columns."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    return {name: [row[column] for row in rows[1:]] for column, name in enumerate(rows[0])}


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def draw_lines(panels: dict[str, dict[str, list[str]]]) -> Figure:
    """RMSE by the first column, a line a label."""
    figure, axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 3.8), squeeze=False, layout="constrained")
    for axis, (dataset, table) in zip(axes[0], panels.items(), strict=True):
        (name, values), *lines = table.items()
        even, settled = name in EVEN, {}
        for place, (label, column) in enumerate(lines):
            there = [at for at, value in enumerate(column) if value]
            x, y = [at if even else float(values[at]) for at in there], [float(column[at]) for at in there]
            colour = COLOURS.get(label, OTHERS[place % len(OTHERS)])
            axis.plot(x, y, "o-", ms=3.5, lw=1.4, color=colour, label=label)
            if name == "epoch":
                settled[label] = max(y[len(y) // 5 :])
        if settled:
            axis.set_ylim(top=max(settled.values()) * 1.02)  # the first fifth of the epochs may be above
        if even:
            axis.set_xticks(range(len(values)), [f"{float(value):g}" for value in values])
        dress(axis, TITLES[dataset], AXES[name], AXES["valid_rmse"])
        if len(lines) > 1:
            columns = 1 if max(len(label) for label, _ in lines) > 25 else 2
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=columns, frameon=False)  # hides no line
    return figure


def draw_sampling(panels: dict[str, dict[str, list[str]]]) -> Figure:
    """RMSE above, seconds below."""
    figure, axes = plt.subplots(2, len(panels), figsize=(4.6 * len(panels), 5), sharex=True, layout="constrained")
    for column, (dataset, table) in zip(axes.T, panels.items(), strict=True):
        shares = [100 * float(share) for share in table["share"]]
        for axis, name, colour in zip(column, ("valid_rmse", "seconds_per_epoch"), OTHERS[::2], strict=False):
            axis.plot(shares, [float(value) for value in table[name]], "o-", ms=3.5, lw=1.4, color=colour)
            dress(axis, TITLES[dataset] if name == "valid_rmse" else "", "", AXES[name])
        column[1].set_ylim(bottom=0)
        column[1].set_xlabel(AXES["share"] + ", %")
    return figure


def draw_pairs(table: dict[str, list[str]]) -> Figure:
    """A heat map a measure: the share of each pair in the measure's sum; framed are the pairs with the field that
    negatives replace."""
    fields = list(dict.fromkeys(table["i"] + table["j"]))
    figure, axes = plt.subplots(1, len(MEASURES), figsize=(4.2 * len(MEASURES), 4.2), sharey=True, layout="constrained")
    for axis, (measure, title) in zip(axes, MEASURES.items(), strict=True):
        shares = [float(value) for value in table[measure]]
        shares = [100 * share / sum(shares) for share in shares]
        top = max(10, *shares)  # so that even shares look even
        grid = [[float("nan")] * len(fields) for _ in fields]
        pairs = zip(table["i"], table["j"], shares, table["has_label_information"], strict=True)
        for i, j, share, informative in pairs:
            x, y = fields.index(i), fields.index(j)
            grid[y][x] = share
            dark = share > 0.6 * top
            text = f"{share:.0f}" if share >= 9.95 else f"{share:.1f}"
            axis.text(x, y, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")
            if informative == "true":
                axis.add_patch(Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, fill=False, lw=1.2, ec="#d55e00"))
        axis.imshow(grid, cmap="Blues", vmin=0, vmax=top)
        axis.set_title(f"{title}, % of the sum", loc="left", fontsize=10)
        axis.set_xticks(range(len(fields) - 1), fields[:-1], rotation=60, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(1, len(fields)), fields[1:])
        axis.set(xlim=(-0.5, len(fields) - 1.5), ylim=(len(fields) - 0.5, 0.5))
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
    return figure


def dress(axis: Axes, title: str, x: str, y: str) -> None:
    axis.set_title(title, loc="left", fontsize=10)
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", lw=0.3)
    axis.set_axisbelow(True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
