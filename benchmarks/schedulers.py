"""Measure what stopping weak trials early gains, and what a search itself costs.

Writes schedulers.json and schedulers.md beside this file. An interrupted run continues where it stopped. Needs the
prepared Frappe (`dvc repro prepare@frappe`) and an idle machine.
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any

import polars as pl
import typer
import yaml
from bench_peers import machine
from inputs import FOLDER
from report import ROOT, write

from pipelines.project.cluster import cluster
from pipelines.project.params import Params
from pipelines.project.paths import Paths
from pipelines.reporting.tables import figure
from pipelines.training.cell import load_cell
from pipelines.training.process import prepare_process

MODELS, SCHEDULERS, SEEDS = ("fm",), ("none", "asha", "median"), (1, 2, 3)
SECONDS = 60
TRIVIAL, ALONE = "20 trivial trials", "no search"
RACES = [*itertools.product(MODELS, SCHEDULERS, SEEDS), *((TRIVIAL, way, 1) for way in ("own", "shared", ALONE))]


def search(model: str, scheduler: str, seed: int) -> dict[str, Any]:
    """Run one search in a folder of its own.

    Returns the seconds of the stage, the best validation RMSE, and the number of trials by state.
    """
    params: dict[str, Any] = {"seed": seed, "datasets": ["frappe"], "models": [model]}
    params["training"] = {"max_epochs": 27, "patience": 3}
    fixed = {"model.embed_dim": 32, "training.batch_size": 1024}
    params["tune"] = {"time_budget_s": SECONDS, "scheduler": scheduler, "fixed": fixed}
    return stage(model, params)


def trivial_search(way: str) -> dict[str, Any]:
    """Run a search with almost no work in its trials, as `search` does.

    Its cluster is its own or shared, as `way` says; for `ALONE`, the trials run without a search.
    """
    params = {"seed": 1, "datasets": ["frappe"], "models": ["lr"], "training": {"max_epochs": 1}}
    params["tune"] = {"num_trials": 20, "fixed": {"training.batch_size": 4096}}
    if way == ALONE:
        return trainings(params)
    if way == "own":
        return stage("lr", params)
    with cluster():
        import ray  # only after pipelines: it sets what Ray reads on import

        return stage("lr", params, {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address})


def trainings(params: dict[str, Any]) -> dict[str, Any]:
    """Run the trials of `params` without a search, with one thread.

    One training before them is the warm-up. The seconds are half of the measured time, as a search has two trials at
    once.
    """
    prepare_process(1)
    cell = load_cell("lr", "frappe", Params.model_validate(params), Paths(ROOT.parent))
    setting = params["tune"]["fixed"]
    cell.train(setting, cell.seed("tune"))
    start = time.perf_counter()
    scores = [
        epoch.valid["rmse"]
        for _ in range(params["tune"]["num_trials"])
        for epoch in cell.train(setting, cell.seed("tune"))[1]
    ]
    return {"seconds": (time.perf_counter() - start) / 2, "valid_rmse": min(scores)}


def stage(model: str, params: dict[str, Any], environment: dict[str, str] | None = None) -> dict[str, Any]:
    seconds, trials = tune_apart(model, params, environment)
    complete = trials.filter(pl.col("state") == "complete")
    states = {"complete": len(complete), "stopped": trials.filter(pl.col("state") == "pruned").height}
    return {"seconds": seconds, "valid_rmse": complete["valid"].min(), **states}


def tune_apart(
    model: str, params: dict[str, Any], environment: dict[str, str] | None = None
) -> tuple[float, pl.DataFrame]:
    """Run the stage `tune` on Frappe in a folder of its own. Returns its seconds and the table of its trials."""
    data, tune = ROOT.parent / "data" / "processed" / "frappe", [sys.executable, "-m", "pipelines.tune"]
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        project = Path(folder)
        (project / "data" / "processed").mkdir(parents=True)
        (project / "data" / "processed" / "frappe").symlink_to(data)
        (project / "params.yaml").write_text(yaml.safe_dump(params), "utf-8")
        arguments = ["--model", model, "--dataset", "frappe", "--params", str(project / "params.yaml")]
        start = time.perf_counter()
        subprocess.run([*tune, *arguments], check=True, stderr=subprocess.DEVNULL, env=environment)
        seconds = time.perf_counter() - start
        return seconds, pl.read_csv(project / "results" / "frappe" / model / "trials.csv")


def main(
    fresh: Annotated[bool, typer.Option("--fresh", help="measure again what is measured already")] = False,
) -> None:
    """Measure what is not measured yet, and write the tables."""
    path = ROOT / "schedulers.json"
    records = json.loads(path.read_text("utf-8"))["records"] if path.exists() and not fresh else []
    measured = {(r["model"], r["scheduler"], r["seed"]): r for r in records}
    todo = [race for race in RACES if race not in measured]
    for done, (model, scheduler, seed) in enumerate(todo):
        found = trivial_search(scheduler) if model == TRIVIAL else search(model, scheduler, seed)
        measured[model, scheduler, seed] = {"model": model, "scheduler": scheduler, "seed": seed, **found}
        print(f"{done + 1}/{len(todo)}  {model}, {scheduler}, seed {seed}: {found['valid_rmse']:.4f}", flush=True)
        report({race: measured[race] for race in RACES if race in measured})
    if not todo:
        report(measured)


def report(measured: dict[Any, dict[str, Any]]) -> None:
    """Write schedulers.json and schedulers.md."""
    write("schedulers", machine(), list(measured.values()), [], **values(measured))


def values(measured: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    """Build the rows of both tables."""
    lines = []
    for model, scheduler in itertools.product(MODELS, SCHEDULERS):
        found = [measured[model, scheduler, seed] for seed in SEEDS if (model, scheduler, seed) in measured]
        if len(found) > 1:
            scores = [result["valid_rmse"] for result in found]
            trials = (f"{fmean(result[state] for result in found):.1f}" for state in ("complete", "stopped"))
            lines.append([model, scheduler, figure(fmean(scores), stdev(scores)), *trials])
    ways = [way for way in ("own", "shared", ALONE) if (TRIVIAL, way, 1) in measured]
    trivial = [(way, f"{measured[TRIVIAL, way, 1]['seconds']:.1f}") for way in ways]
    return {"seconds": SECONDS, "num_seeds": len(SEEDS), "races": lines, "trivial": trivial}


if __name__ == "__main__":
    typer.run(main)
