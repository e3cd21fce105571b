"""Compute the page's overview and budget."""

from itertools import product
from typing import Any

from chapters.findings import Findings
from pipelines.data.card import read_card


def overview(findings: Findings) -> dict[str, Any]:
    """Count judged statements by part, and list sizes and data beside the paper's."""
    params = findings.params
    training = {f"training.{key}": value for key, value in params.training.model_dump().items()}
    sizes = []
    for key, paper in findings.published["settings"].items():
        searched = "searched" if key.startswith("model.") or key == "training.batch_size" else training[key]
        sizes.append((f"`{key}`", params.tune.fixed.get(key, searched), paper["frappe"], paper["movielens"]))
    return {
        "sources": list(findings.published["sources"].values()),
        "summary": [
            (part, len(judged), *(judged.count(holds) for holds in (True, False, None)))
            for part, judged in findings.judged.items()
        ],
        "sizes": sizes,
        "other_data": {
            dataset: card.notes
            for dataset in params.datasets
            if (card := read_card(findings.paths, dataset)) and card.notes
        },
        "params": params,
    }


def budget(findings: Findings) -> dict[str, Any]:
    """Add up the time of each cell and experiment."""
    rows: list[tuple[str, str, str, int, float]] = []
    for dataset, model in product(findings.params.datasets, findings.params.models):
        for file, stage, run_column in (("trials", "search", "trial"), ("curves", "final runs", "seed")):
            table = findings.csv(f"{dataset}/{model}/{file}.csv") or []
            epochs = sum(row["epochs"] for row in table) if file == "trials" else len(table)
            runs = f"{len({row[run_column] for row in table})} {run_column}s"
            if table:
                seconds = sum(row["seconds"] or 0.0 for row in table)
                rows.append((f"{model} on {dataset}", stage, runs, epochs, seconds))
    for figure in dict.fromkeys(entry["figure"] for entry in findings.experiments.values()):
        for dataset, curves in findings.curves(figure).items():
            done = [row for curve in curves.values() for row in curve]
            epochs = sum(row.get("num_seeds", 1) for row in done)
            seconds = sum(row["seconds"] * row.get("num_seeds", 1) for row in done)
            rows.append((f"{figure} on {dataset}", "experiments", f"{len(curves)} curves", epochs, seconds))
    return {
        "rows": [(*row[:4], f"{row[4] / max(row[3], 1):.2f}", f"{row[4] / 3600:.2f}") for row in rows],
        "hours": sum(row[-1] for row in rows) / 3600,
    }
