"""Compute the page's overview, its budget and the price of what is open."""

from itertools import product
from typing import Any

from chapters.findings import Findings
from chapters.verdicts import Statement
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
            (part, len(judged), *([each["holds"] for each in judged].count(holds) for holds in (True, False, None)))
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
    rows = measured(findings)
    return {
        "rows": [(*row[:4], f"{row[4] / max(row[3], 1):.2f}", f"{row[4] / 3600:.2f}") for row in rows],
        "hours": sum(row[-1] for row in rows) / 3600,
        "open": price_of_open(findings, {(name, stage): seconds for name, stage, *_, seconds in rows}),
    }


def measured(findings: Findings) -> list[tuple[str, str, str, int, float]]:
    """List what was run: name, stage, number of runs, epochs and seconds."""
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
    return rows


def price_of_open(findings: Findings, seconds: dict[tuple[str, str], float]) -> list[tuple[str, int, str, str]]:
    """Price the open statements of each part in hours of one core.

    `seconds` is what was measured, by name and stage. An experiment is trained anew with twice the epochs or seeds, so
    it costs twice as much; final runs get as many seeds more.
    """
    rows = []
    for part, judged in findings.judged.items():
        still_open = [each for each in judged if each["holds"] is None]
        for needed in dict.fromkeys(each.get("needs") for each in still_open):
            left = [each for each in still_open if each.get("needs") == needed]
            runs = dict.fromkeys(run for each in left for run in runs_behind(each, findings.params.datasets))
            known = not needed and runs and runs.keys() <= seconds.keys()
            times = 2 if left[0]["figure"] else 1
            hours = f"{times * sum(seconds[run] for run in runs) / 3600:.2f}" if known else "–"
            names = f"the data set `{needed}`" if needed else ", ".join(name for name, _ in runs)
            rows.append((part, len(left), names, hours))
    return rows


def runs_behind(statement: Statement, datasets: list[str]) -> list[tuple[str, str]]:
    """Name the runs behind a statement, with their stages; on all data sets if it names none."""
    of = [statement["dataset"]] if statement.get("dataset") else datasets
    if statement["figure"]:
        return [(f"{statement['figure']} on {dataset}", "experiments") for dataset in of]
    return [(f"{model} on {dataset}", "final runs") for model in statement.get("models", ()) for dataset in of]
