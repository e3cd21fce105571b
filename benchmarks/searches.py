"""Measure how much a test metric depends on the luck of a search.

Each search of the board of record is repeated with other seeds, and what it found is trained and tested with several
seeds, all as board/params.yaml says. Writes searches.json and searches.md beside this file. An interrupted run goes on
where it stopped. Needs the prepared data of the board (`cd board && dvc repro prepare@frappe-nfm`).
"""

import json
import subprocess
import sys
from statistics import fmean, stdev
from typing import Any

import typer
from bench_peers import machine
from inputs import FOLDER
from report import ROOT, write

from pipelines.evaluation.results import Best, read_best, read_summary
from pipelines.project.params import load_params
from pipelines.project.records import yaml_text

DATASET, MODELS, SEARCHES, SEEDS = "frappe-nfm", ("lr", "fm", "deepfm", "nfm"), 3, 3
BOARD, PROJECT = ROOT.parent / "board", FOLDER / "searches"


def measure(model: str) -> dict[str, Any]:
    """Search and evaluate a model several times.

    Returns the validation AUC that each search found, the mean test AUC of each, and the test AUC of the first by seed.
    """
    for stage in ("tune", "evaluate"):
        options = ["--model", model, "--dataset", DATASET, "--params", str(PROJECT / "params.yaml")]
        subprocess.run([sys.executable, "-m", f"pipelines.{stage}", *options], check=True)
    folder = PROJECT / "results" / DATASET / model
    best, summary = read_best(folder, model, DATASET), read_summary(folder, model, DATASET)
    if not (isinstance(best, Best) and best.other_searches and summary.searches):
        raise ValueError(f"{folder} has no results of {SEARCHES} searches")
    return {
        "model": model,
        "valid_auc": [best.valid, *(other.valid for other in best.other_searches)],
        "test_auc": [means["test_auc"] for means in summary.searches],
        "test_auc_of_seeds": summary.values("test_auc"),
    }


def main() -> None:
    """Measure what is not measured yet, and write the table."""
    path = ROOT / "searches.json"
    records = json.loads(path.read_text("utf-8"))["records"] if path.exists() else []
    measured = {record["model"]: record for record in records}
    write_project()
    for model in MODELS:
        if model not in measured:
            measured[model] = measure(model)
            write("searches", machine(), list(measured.values()), [], rows=rows([*measured.values()]))


def write_project() -> None:
    """Make a folder with the board's data and its params.yaml.

    The numbers of searches and seeds are other ones. There is no time limit, which none of these models reaches on an
    idle machine: other work must not end a search.
    """
    params = load_params(BOARD / "params.yaml").model_dump(mode="json")
    params |= {"datasets": [DATASET], "models": list(MODELS)}
    params["tune"] |= {"num_searches": SEARCHES, "time_budget_s": None}
    params["evaluate"] |= {"num_seeds": SEEDS, "keep": False}
    PROJECT.mkdir(parents=True, exist_ok=True)
    (PROJECT / "params.yaml").write_text(yaml_text(params), "utf-8")
    if not (PROJECT / "data").exists():
        (PROJECT / "data").symlink_to(BOARD / "data")


def rows(records: list[dict[str, Any]]) -> list[list[Any]]:
    """Build a row for each model."""
    return [
        [
            record["model"],
            *(f"{value:.4f}" for value in record["test_auc"]),
            f"{fmean(record['test_auc']):.4f}",
            f"{stdev(record['test_auc']):.4f}",
            f"{stdev(record['test_auc_of_seeds']):.4f}",
        ]
        for record in records
    ]


if __name__ == "__main__":
    typer.run(main)
