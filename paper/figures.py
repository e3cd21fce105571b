"""Draw the figures from the results of experiment.py, importance.py and sampling.py."""

from pathlib import Path
from typing import Any

import polars as pl
from entries import Experiment, load_experiments

from pipelines.project.cli import ParamsOption, run
from pipelines.project.files import write_text
from pipelines.project.paths import Paths
from pipelines.project.records import Missing, read_csv

PARAMETERS = {
    "keep": "keep_probability",
    "l2_field": "l2_field",
    "field_embed_dim": "field_embed_dim",
    "sampling_l2": "l2_field",
}
EVEN = ("l2_field", "field_embed_dim")  # parameters whose values are drawn at even distances
OWN_PANELS = ("code", "sizes")  # figures that compare variants of one model: one panel for each model
PANELS = {"frappe-nfm": "Frappe", "movielens": "MovieLens tags", "generated": "generated, 40 fields"}
AXES = {
    "epoch": "epoch",
    "keep_probability": "keep probability",
    "l2_field": "λ_F",
    "field_embed_dim": "K_F",
    "share": "share of the pairs that a batch sees, %",
    "valid_rmse": "validation RMSE",
    "seconds_per_epoch": "seconds an epoch",
}


def main(params: ParamsOption = Path("params.yaml")) -> None:
    """Write the data of each figure, and draw the figures.

    Writes results/figures/FIGURE-DATASET.csv and ../docs/figures/FIGURE.svg.
    Nothing is trained.
    """
    paths = Paths(params.parent)
    _, experiments = load_experiments(paths.root / "experiments.yaml")
    found = tables(experiments, paths)
    for name, table in found.items():
        write_text(paths.root / "results" / "figures" / f"{name}.csv", table.write_csv())
    file = paths.root / "results" / "importance" / "frappe-nfm.csv"
    pairs = read_csv(file, "python importance.py frappe-nfm")
    draw(found, pairs, paths.root.resolve().parent / "docs" / "figures")


def draw(found: dict[str, pl.DataFrame], pairs: pl.DataFrame, folder: Path) -> None:
    """Draw FIGURE.svg from all tables FIGURE-DATASET, and importance.svg from the pairs.

    A figure has one panel for each data set, or for each data set and model (`OWN_PANELS`).
    """
    from pipelines.reporting import charts  # matplotlib takes time to import
    from pipelines.reporting.line_chart import line_chart

    figures: dict[str, dict[str, pl.DataFrame]] = {}
    for name, table in found.items():
        figure, _, dataset = name.partition("-")
        figures.setdefault(figure, {})[dataset] = table
    for figure, by_dataset in figures.items():
        if figure == "sampling":
            names = ("valid_rmse", "seconds_per_epoch")
            rows = [[share_panel(dataset, table, name) for dataset, table in by_dataset.items()] for name in names]
            chart, title = line_chart(rows, 2.5), "RMSE and seconds an epoch by the share sampled"
        else:
            groups = {PANELS[dataset]: table for dataset, table in by_dataset.items()}
            if figure in OWN_PANELS:
                groups = {
                    f"{title}, {model}": part for title, table in groups.items() for model, part in by_model(table)
                }
            panels = [rmse_panel(title, table) for title, table in groups.items()]
            chart, title = line_chart([panels], 3.8), f"Validation RMSE by {panels[0].x}"
        charts.save(chart, folder / f"{figure}.svg", title)
    framed = set(pairs.filter("has_label_information").select("i", "j").iter_rows())
    names = list(pairs.select("i", "j").iter_rows())
    measures = {title: dict(zip(names, pairs[measure], strict=True)) for measure, title in charts.MEASURES.items()}
    chart = charts.importance_chart(measures, framed)
    charts.save(chart, folder / "importance.svg", "The share of each pair of fields by each measure of importance")


def by_model(table: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """Split a table by model: the first column and the variants of that model."""
    name, *labels = table.columns
    models = {label.partition(",")[0]: None for label in labels}
    return [
        (model, table.select(name, *(label for label in labels if label.startswith(f"{model},")))) for model in models
    ]


def rmse_panel(title: str, table: pl.DataFrame) -> Any:
    """Make a panel of the RMSE by the first column, one line for each label."""
    from pipelines.reporting.line_chart import Panel

    name, *labels = table.columns
    even = name in EVEN
    x = list(range(table.height)) if even else table[name].to_list()
    lines = {label: [(at, y) for at, y in zip(x, table[label], strict=True) if y is not None] for label in labels}
    ticks = [f"{value:g}" for value in table[name]] if even else ()
    return Panel(title, AXES[name], AXES["valid_rmse"], lines, ticks, epochs=name == "epoch")


def share_panel(dataset: str, table: pl.DataFrame, name: str) -> Any:
    """Make a panel of one measure of IFM-sampling by the share of the pairs."""
    from pipelines.reporting.line_chart import Panel

    points = list(zip(100 * table["share"], table[name], strict=True))
    title = PANELS[dataset]
    return Panel(title, AXES["share"], AXES[name], {"IFM-sampling": points}, zero=name == "seconds_per_epoch")


def tables(experiments: dict[str, Experiment], paths: Paths) -> dict[str, pl.DataFrame]:
    """Make one table for each figure and data set whose experiments are all finished.

    Prints which other tables are left out and which experiment is missing. Figures by epoch have one row for each epoch
    and one column of validation RMSE for each label. Figures by a parameter have one row for each value, with the RMSE
    of the best epoch. Sampling has one row for each share, with the best RMSE and the seconds per epoch.
    """
    groups: dict[tuple[str, str], dict[str, Experiment]] = {}
    for name, experiment in experiments.items():
        groups.setdefault((experiment.figure, experiment.dataset), {})[name] = experiment
    result = {}
    for (figure, dataset), group in groups.items():
        try:
            curves = {name: curve(name, paths) for name in group}
        except Missing as error:
            print(f"{figure} on {dataset} is left out: {error}")
            continue
        if figure == "sampling":
            table = sampled(group, curves)
        elif figure in PARAMETERS:
            table = by_parameter(PARAMETERS[figure], group, curves)
        else:
            table = by_epoch(group, curves)
        result[f"{figure}-{dataset}"] = table
    generated = paths.root / "results" / "sampling.csv"
    if generated.exists():
        means = read_csv(generated, "python sampling.py").group_by("share", maintain_order=True).agg(pl.all().mean())
        result["sampling-generated"] = means.select("share", "valid_rmse", "seconds_per_epoch")
    return result


def curve(name: str, paths: Paths) -> pl.DataFrame:
    return read_csv(paths.root / "results" / "experiments" / f"{name}.csv", f"python experiment.py {name}")


def by_epoch(group: dict[str, Experiment], curves: dict[str, pl.DataFrame]) -> pl.DataFrame:
    columns = [curves[name].select("epoch", pl.col("valid_rmse").alias(entry.label)) for name, entry in group.items()]
    return pl.concat(columns, how="align")


def by_parameter(name: str, group: dict[str, Experiment], curves: dict[str, pl.DataFrame]) -> pl.DataFrame:
    rows = [
        {name: entry.x, "label": entry.label, "valid_rmse": curves[key]["valid_rmse"].min()}
        for key, entry in group.items()
    ]
    return pl.DataFrame(rows).pivot("label", index=name, values="valid_rmse").sort(name)


def sampled(group: dict[str, Experiment], curves: dict[str, pl.DataFrame]) -> pl.DataFrame:
    rows = [
        {
            "share": entry.x,
            "valid_rmse": curves[name]["valid_rmse"].min(),
            "seconds_per_epoch": curves[name]["seconds"].median(),
        }
        for name, entry in group.items()
    ]
    return pl.DataFrame(rows).sort("share")


if __name__ == "__main__":
    run(main)
