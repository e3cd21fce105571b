"""Measure what the recipe `ctr` gains on Frappe, on the split released with NFM.

Each model is trained by its first setting of both recipes, in two sizes, until its validation AUC no longer rises, or
for `MAX_EPOCHS`. Writes recipes.json and recipes.md beside this file. An interrupted run continues where it stopped.
Needs the prepared data (`python -m pipelines.prepare --dataset frappe-nfm`).
"""

import itertools
import json
import time
from pathlib import Path
from typing import Any

import typer
from bench_peers import machine
from report import ROOT, write

from pipelines.project.params import Params, load_params
from pipelines.project.paths import Paths
from pipelines.project.settings import RECIPE, RECIPES
from pipelines.search.recipes import first_setting
from pipelines.training.cell import load_cell
from pipelines.training.epochs import best_epoch
from pipelines.training.process import prepare_process

DATASET, MODELS, SIZES = "frappe-nfm", ("fm", "deepfm", "dcnv2"), (10, 32)
MAX_EPOCHS = {"paper": 30, "ctr": 100}  # an epoch of batches of 128 takes ten times as long as one of 4096
RACES = [*itertools.product(MODELS, SIZES, RECIPES)]
KEYS = ("model", "embed_dim", "recipe")


def measure(model: str, embed_dim: int, recipe: str, params: Params) -> dict[str, Any]:
    """Train a model by a recipe, and return its best epoch's metrics and CPU seconds."""
    cell = load_cell(model, DATASET, params, Paths(ROOT.parent))
    own = {RECIPE: recipe, "model.embed_dim": embed_dim, "training.max_epochs": MAX_EPOCHS[recipe]}
    setting = {**first_setting(recipe, model, "frappe"), **own}
    start = time.process_time()
    epochs = cell.train(setting, cell.seed("recipes"))[1]
    best = best_epoch(epochs, "auc")
    cpu = {"epochs": len(epochs), "best_epoch": best.epoch, "cpu_seconds": time.process_time() - start}
    return {"model": model, "embed_dim": embed_dim, "recipe": recipe, **best.valid, **cpu}


def main() -> None:
    """Measure what is not measured yet, and write the table."""
    path = ROOT / "recipes.json"
    records = json.loads(path.read_text("utf-8"))["records"] if path.exists() else []
    measured = {tuple(record[key] for key in KEYS): record for record in records}
    params = load_params(Path(ROOT.parent / "params.yaml"))
    training = params.training.model_copy(update={"metric": "auc"})
    prepare_process(1)
    for race in RACES:
        if race not in measured:
            measured[race] = measure(*race, params.model_copy(update={"training": training}))
            print(measured[race], flush=True)
            write("recipes", machine(), list(measured.values()), [], rows=rows([*measured.values()]))


def rows(records: list[dict[str, Any]]) -> list[list[Any]]:
    """Build a row for each model and size."""
    measured = {tuple(record[key] for key in KEYS): record for record in records}
    return [
        [model, embed_dim, *(cell for recipe in RECIPES for cell in cells(measured[model, embed_dim, recipe]))]
        for model, embed_dim in itertools.product(MODELS, SIZES)
        if all((model, embed_dim, recipe) in measured for recipe in RECIPES)
    ]


def cells(record: dict[str, Any]) -> list[str]:
    return [
        f"{record['auc']:.4f}",
        f"{record['logloss']:.4f}",
        str(record["best_epoch"]),
        f"{record['cpu_seconds']:.0f}",
    ]


if __name__ == "__main__":
    typer.run(main)
