"""The figures, from the results of experiment.py, importance.py and sampling.py: nothing is trained here."""

import subprocess
from pathlib import Path

import polars as pl
from experiment import Experiment, load_experiments

from pipelines.cli import ParamsOption, run
from pipelines.files import write_text
from pipelines.paths import Paths

PARAMETERS = {"keep": "keep_probability", "l2_field": "l2_field", "field_embed_dim": "field_embed_dim"}
ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / "benchmarks" / ".venv" / "picture" / "bin" / "python"  # has matplotlib


def main(params: ParamsOption = Path("params.yaml")) -> None:
    """Gather what each figure shows into results/figures/FIGURE-DATASET.csv, and draw them into ../docs/figures/."""
    if not PYTHON.exists():
        raise ValueError(f"no {PYTHON}: run make benchmarks/.venv/picture/.done")
    paths = Paths(params.parent)
    _, experiments = load_experiments(paths.root / "experiments.yaml")
    folder = paths.root / "results" / "figures"
    for name, table in tables(experiments, paths).items():
        write_text(folder / f"{name}.csv", table.write_csv())
    importance = existing(paths.root / "results" / "importance" / "frappe-nfm.csv", "importance.py frappe-nfm")
    drawn = paths.root.resolve().parent / "docs" / "figures"
    subprocess.run([PYTHON, Path(__file__).with_name("picture.py"), folder, importance, drawn], check=True)


def tables(experiments: dict[str, Experiment], paths: Paths) -> dict[str, pl.DataFrame]:
    """A table a figure and data set whose experiments are all done; of the others, the first that is missing is named.

    By epoch: a row an epoch, a column of validation RMSE a label. By a parameter: a row a value, and the RMSE of the
    best epoch. Sampling: a row a share, best RMSE and seconds an epoch.
    """
    groups: dict[tuple[str, str], dict[str, Experiment]] = {}
    for name, experiment in experiments.items():
        groups.setdefault((experiment.figure, experiment.dataset), {})[name] = experiment
    result = {}
    for (figure, dataset), group in groups.items():
        try:
            curves = {name: curve(name, paths) for name in group}
        except ValueError as error:
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
        means = pl.read_csv(generated).group_by("share", maintain_order=True).agg(pl.all().mean())
        result["sampling-generated"] = means.select("share", "valid_rmse", "seconds_per_epoch")
    return result


def curve(name: str, paths: Paths) -> pl.DataFrame:
    return pl.read_csv(existing(paths.root / "results" / "experiments" / f"{name}.csv", f"experiment.py {name}"))


def existing(path: Path, command: str) -> Path:
    if not path.exists():
        raise ValueError(f"no {path}: run python {command}")
    return path


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
