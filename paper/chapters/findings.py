"""Load what docs/reproduction.md shows, and compute the parts that its chapters share."""

from pathlib import Path
from typing import Any

from entries import expand

from chapters.verdicts import Statement, Table, best_epoch, lowest
from pipelines.project.metric import METRICS
from pipelines.project.params import load_params
from pipelines.project.paths import Paths
from pipelines.project.records import read_csv, read_record, read_yaml
from pipelines.reporting.tables import figure as shown

REPRO = "dvc repro"  # in paper/: writes a damaged result anew
FEW = 4  # up to so many missing experiments are named


class Findings:
    """Hold the paper's params, published figures, experiments and results, and count judged statements."""

    def __init__(self, params: Path) -> None:
        self.params, self.paths = load_params(params), Paths(params.parent)
        self.metric = METRICS[self.params.training.metric]
        self.results = self.paths.root / "results"
        published, entries = (self.paths.root / name for name in ("published.yaml", "experiments.yaml"))
        self.published = read_yaml(published) if published.exists() else {}
        self.experiments = dict(expand(read_yaml(entries)["experiments"] if entries.exists() else {}))
        self.board = read_json(self.results / "leaderboard.json", [])
        self.significance = read_json(self.results / "significance.json", {})
        self.judged: dict[str, list[Statement]] = {}  # by part of the paper

    def curves(self, figure: str) -> dict[str, dict[str, Table]]:
        """Read the finished runs of a figure, by data set and name."""
        found: dict[str, dict[str, Table]] = {}
        for name, entry in self.experiments.items():
            curve = self.csv(f"experiments/{name}.csv") if entry["figure"] == figure else None
            if curve is not None:
                found.setdefault(entry["dataset"], {})[name] = curve
        return found

    def labelled(self, figure: str) -> dict[str, dict[str, Table]]:
        """Read the finished runs of a figure, by data set and label."""
        return {
            dataset: {self.experiments[name]["label"]: curve for name, curve in curves.items()}
            for dataset, curves in self.curves(figure).items()
        }

    def values(self, figure: str) -> dict[str, dict[str, dict[float, Table]]]:
        """Read the finished runs of a figure, by data set, label and hyperparameter value."""
        found: dict[str, dict[str, dict[float, Table]]] = {}
        for dataset, curves in self.curves(figure).items():
            for name, curve in curves.items():
                entry = self.experiments[name]
                found.setdefault(dataset, {}).setdefault(entry["label"], {})[float(entry["x"])] = curve
        return found

    def by_label(self, figure: str) -> dict[str, Any]:
        """Make one row for each curve: its best epoch and its last."""
        rows = []
        for dataset, curves in self.labelled(figure).items():
            for label, curve in curves.items():
                best = best_epoch(curve)
                rmse = shown(best["valid_rmse"], best.get("valid_rmse_std"))
                rows.append((dataset, label, rmse, best["epoch"], shown(curve[-1]["valid_rmse"]), len(curve)))
        return {"rows": rows, **self.part(figure)}

    def by_value(self, figure: str) -> dict[str, Any]:
        """Make one row for each hyperparameter value, one column for each data set and label."""
        columns = {
            (dataset, label): {x: lowest(curve) for x, curve in by_x.items()}
            for dataset, table in self.values(figure).items()
            for label, by_x in table.items()
        }
        rows = [
            [f"{x:g}", *(bold(by_x[x], min(by_x.values())) if x in by_x else "–" for by_x in columns.values())]
            for x in sorted({x for by_x in columns.values() for x in by_x})
        ]
        return {"columns": [f"{label}, {dataset}" for dataset, label in columns], "rows": rows, **self.part(figure)}

    def part(self, figure: str) -> dict[str, Any]:
        """Name a figure's missing experiments and its picture, if drawn."""
        names = [name for name, entry in self.experiments.items() if entry["figure"] == figure]
        left = [name for name in names if not (self.results / "experiments" / f"{name}.csv").exists()]
        return {"left": left, "few": len(left) <= FEW, "num_runs": len(names), "picture": self.picture(figure)}

    def picture(self, name: str) -> str | None:
        """Return a picture's name, or None if docs/figures lacks it."""
        there = (self.paths.root.resolve().parent / "docs" / "figures" / f"{name}.svg").exists()
        return name if there else None

    def statements(self, part: str, statements: list[Statement], figure: str | None = None) -> list[Statement]:
        """Count statements in the summary, or one open statement if there are none.

        `figure` names the experiments that they are judged by; without one, they are judged by final runs.
        """
        self.judged.setdefault(part, []).extend(
            {**statement, "figure": figure} for statement in statements or [{"holds": None}]
        )
        return statements

    def csv(self, name: str) -> Table | None:
        path = self.results / name
        return read_csv(path, REPRO).rows(named=True) if path.exists() and path.stat().st_size > 1 else None


def bold(value: float, least: float) -> str:
    return f"**{value:.4f}**" if value == least else f"{value:.4f}"


def read_json(path: Path, default: Any) -> Any:
    """Read a JSON file, or return `default` without one. Raises ValueError for a damaged file."""
    return read_record(path, type(default) if default is not None else dict, REPRO) if path.exists() else default
