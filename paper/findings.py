"""What docs/reproduction.md is made of, and the parts that its chapters share."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from verdicts import Row, Table, best_epoch, lowest, statement_table

from pipelines.params import load_params
from pipelines.paths import Paths
from pipelines.tables import markdown_table

FEW = 4  # missing experiments, which are named


class Findings:
    """params.yaml, published.yaml, experiments.yaml and results/, and the statements that were judged so far."""

    def __init__(self, params: Path) -> None:
        self.params, self.paths = load_params(params), Paths(params.parent)
        self.results = self.paths.root / "results"
        self.published = read_yaml(self.paths.root / "published.yaml")
        self.experiments = read_yaml(self.paths.root / "experiments.yaml").get("experiments", {})
        self.board = read_json(self.results / "leaderboard.json", [])
        self.significance = read_json(self.results / "significance.json", {})
        self.found: dict[str, list[Row]] = {}  # by part of the paper

    def curves(self, figure: str) -> dict[str, dict[str, Table]]:
        """The runs of a figure that are there, by data set and name."""
        found: dict[str, dict[str, Table]] = {}
        for name, entry in self.experiments.items():
            curve = self.csv(f"experiments/{name}.csv") if entry["figure"] == figure else None
            if curve is not None:
                found.setdefault(entry["dataset"], {})[name] = curve
        return found

    def labelled(self, figure: str) -> dict[str, dict[str, Table]]:
        """The same, by data set and label."""
        return {
            dataset: {self.experiments[name]["label"]: curve for name, curve in curves.items()}
            for dataset, curves in self.curves(figure).items()
        }

    def values(self, figure: str) -> dict[str, dict[str, dict[float, Table]]]:
        """The same, by data set, label and value of the hyperparameter."""
        found: dict[str, dict[str, dict[float, Table]]] = {}
        for dataset, curves in self.curves(figure).items():
            for name, curve in curves.items():
                entry = self.experiments[name]
                found.setdefault(dataset, {}).setdefault(entry["label"], {})[float(entry["x"])] = curve
        return found

    def by_label(self, figure: str) -> list[str]:
        """A row a curve: the best epoch and the last one."""
        rows = []
        for dataset, curves in self.labelled(figure).items():
            for label, curve in curves.items():
                best = best_epoch(curve)
                rmse = shown(best["valid_rmse"], best.get("valid_rmse_std"))
                rows.append((dataset, label, rmse, best["epoch"], shown(curve[-1]["valid_rmse"]), len(curve)))
        columns = ("data set", "", "best valid RMSE", "in epoch", "last valid RMSE", "epochs")
        table = [*markdown_table(columns, rows), ""] if rows else []
        return [*table, *self.missing(figure), *self.picture(figure, "Validation RMSE by epoch")]

    def by_value(self, figure: str, parameter: str) -> list[str]:
        """A row a value of the hyperparameter, a column a data set and label."""
        columns = {
            (dataset, label): {x: lowest(curve) for x, curve in by_x.items()}
            for dataset, table in self.values(figure).items()
            for label, by_x in table.items()
        }
        rows = (
            [f"{x:g}", *(bold(by_x[x], min(by_x.values())) if x in by_x else "–" for by_x in columns.values())]
            for x in sorted({x for by_x in columns.values() for x in by_x})
        )
        head = [parameter, *(f"{label}, {dataset}" for dataset, label in columns)]
        table = [*markdown_table(head, rows), ""] if columns else []
        return [*table, *self.missing(figure), *self.picture(figure, f"Validation RMSE by {parameter}")]

    def missing(self, figure: str) -> list[str]:
        """The experiments of a figure that are not there, with the command that runs them."""
        names = [name for name, entry in self.experiments.items() if entry["figure"] == figure]
        left = [name for name in names if not (self.results / "experiments" / f"{name}.csv").exists()]
        if 0 < len(left) <= FEW:
            return [not_run(f"`cd paper && python experiment.py {' '.join(left)}`"), ""]
        if left or not names:
            return [not_run(f"`cd paper && dvc repro experiment`, {len(left)} of {len(names)} runs"), ""]
        return []

    def picture(self, name: str, title: str) -> list[str]:
        there = (self.paths.root.resolve().parent / "docs" / "figures" / f"{name}.svg").exists()
        return [f"![{title}](figures/{name}.svg)", ""] if there else []

    def note(self, part: str, statement: str, ours: str, holds: bool | None) -> None:
        self.found.setdefault(part, []).append((statement, ours, holds))

    def statements(self, part: str, rows: list[Row], note: str = "") -> list[str]:
        """A table of what the paper says and what we find; all of it counts in the summary."""
        for row in rows or [("", "", None)]:
            self.note(part, *row)
        return [f"What the paper says, and what we find{note}:", "", *statement_table(rows)] if rows else []

    def csv(self, name: str) -> Table | None:
        path = self.results / name
        return pl.read_csv(path).rows(named=True) if path.exists() and path.stat().st_size > 1 else None


def shown(mean: float | None, std: float | None = None) -> str:
    if mean is None:
        return "–"
    return f"{mean:.4f}" if std is None else f"{mean:.4f} ± {std:.4f}"


def bold(value: float, least: float) -> str:
    return f"**{value:.4f}**" if value == least else f"{value:.4f}"


def not_run(command: str) -> str:
    return f"Not run yet: {command}."


def read_yaml(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}


def read_json(path: Path, default: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else default
