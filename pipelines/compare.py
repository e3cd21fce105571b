"""Compare size, speed and validation AUC of all models, each by two recipes for training."""

import dataclasses
import time
from pathlib import Path
from typing import Any

from pipelines.data.card import read_card
from pipelines.project.cli import DatasetOption, ParamsOption, run
from pipelines.project.files import write_json, write_text
from pipelines.project.metric import METRICS
from pipelines.project.params import load_params
from pipelines.project.paths import Paths
from pipelines.project.records import read_record
from pipelines.project.settings import RECIPES, resolve
from pipelines.reporting.pages import TEMPLATES, render

NUM_EPOCHS = 10
TRAINING = {
    "training.metric": "auc",
    "training.max_epochs": NUM_EPOCHS,
    "training.patience": NUM_EPOCHS,
    "training.pretrained": None,
}
SIZES = {  # at most, instead of the papers'; 10 is the size of embeddings in most published logs
    "model.embed_dim": 10,
    "model.attention_dim": 16,
    "model.num_attention_layers": 2,  # autoint has 6
    "model.num_neurons": 100,  # afn has 1000
    "model.num_members": 8,  # tabm has 32
}
SHOWN = [METRICS[name] for name in ("auc", "logloss")]
PROBE_ROWS = 2048
BASELINE = "lr"

Rows = dict[str, dict[str, Any]]  # of each model by recipe


def main(dataset: DatasetOption = "frappe-nfm", params: ParamsOption = Path("params.yaml")) -> None:
    """Train every model that has gradients for ten epochs by each recipe.

    Writes results/models.md and results/models.json after each model, the
    fastest model first. Finished runs are not repeated. Each run has the first
    setting of a search by its recipe, in a smaller size. Nothing is tuned and
    no test row is read, so the table does not say which model is best.
    """
    config, paths = load_params(params), Paths(params.parent)
    from models.registry import get_model, is_by_gradient, list_models, why_declined  # torch takes seconds to import
    from pipelines.training.cell import load_cell
    from pipelines.training.process import prepare_process

    prepare_process()
    training = resolve(TRAINING, config.training)[1]
    cell = load_cell(BASELINE, dataset, config.model_copy(update={"training": training}), paths)
    models = [name for name in list_models() if is_by_gradient(get_model(name))]
    runs = {model: [Run(model, recipe, cell, paths) for recipe in RECIPES] for model in models}
    declined = {model: reason for model in models if (reason := why_declined(model, cell.schema["fields"]))}
    left = [model for model in models if model not in declined]
    costs = {model: 0.0 if all(each.file.exists() for each in runs[model]) else runs[model][0].cost() for model in left}
    card = read_card(paths, dataset)
    notes = card.notes if card else []
    rows: Rows = {}
    for model in sorted(left, key=costs.__getitem__):
        rows[model] = {each.recipe: each.row() for each in runs[model]}
        print(model, *(" ".join(cells(row)) for row in rows[model].values()), sep="  ", flush=True)
        waiting = [name for name in left if name not in rows]
        write_json(paths.root / "results" / "models.json", rows)
        write_text(paths.root / "results" / "models.md", markdown(dataset, rows, declined, waiting, notes, config.seed))


class Run:
    """Train one model by one recipe, unless a file has its row already."""

    def __init__(self, model: str, recipe: str, cell: Any, paths: Paths) -> None:
        from models.registry import hyperparameters
        from pipelines.data.catalog import get_dataset
        from pipelines.search.recipes import first_setting
        from pipelines.training.behaviour import behaviour_of
        from pipelines.training.cell import fingerprint

        training = resolve({"training.recipe": recipe, **TRAINING}, cell.training)[1]
        behaviour = behaviour_of(model, training)
        self.recipe = recipe
        self.cell = dataclasses.replace(cell, model=model, training=training, behaviour=behaviour)
        first = first_setting(recipe, model, get_dataset(cell.dataset, paths.root).family)
        sizes = {f"model.{key}": value for key, value in hyperparameters(model).items()} | first
        smaller = {key: min(value, sizes[key]) for key, value in SIZES.items() if key in sizes}
        self.setting = {**first, **smaller}
        self.file = paths.study(cell.dataset, model) / f"compare-{fingerprint(self.cell, {}, self.setting)}.json"

    def row(self) -> dict[str, Any]:
        """Return the size, the CPU seconds per epoch, and the best epoch's validation metrics."""
        if not self.file.exists():
            from pipelines.training import start
            from pipelines.training.epochs import best_epoch

            started = time.process_time()
            model, epochs = self.cell.train(self.setting, self.cell.seed("compare"))
            best = best_epoch(epochs, self.cell.training.metric)
            seconds = (time.process_time() - started) / len(epochs)
            found = {"num_params": start.num_params(model), "cpu_seconds_per_epoch": seconds, "best_epoch": best.epoch}
            write_json(self.file, {**found, **best.valid.named("valid")})
        return read_record(self.file, dict[str, Any], f"rm {self.file}, then python -m pipelines.compare")

    def cost(self) -> float:
        """Measure the seconds of an epoch of few rows, after one that compiles kernels."""
        rows = self.cell.train_rows.sample(min(PROBE_ROWS, len(self.cell.train_rows)), 0)
        few = dataclasses.replace(self.cell, train_rows=rows, valid_rows=rows)
        epochs = few.train({**self.setting, "training.max_epochs": 2}, 0)[1]
        return epochs[-1].seconds


def markdown(
    dataset: str, rows: Rows, declined: dict[str, str], waiting: list[str], notes: list[str], seed: int
) -> str:
    """Render the table, best AUC first, and name the models behind the baseline. `notes` are on the data."""
    auc = METRICS["auc"]
    best = {model: min(auc.score(row["valid_auc"]) for row in found.values()) for model, found in rows.items()}
    behind = {
        recipe: [
            model
            for model, found in rows.items()
            if BASELINE in rows and found[recipe]["valid_auc"] < rows[BASELINE][recipe]["valid_auc"]
        ]
        for recipe in RECIPES
    }
    columns = ["CPU s / epoch", "best epoch", *(metric.title for metric in SHOWN)]
    return render(
        TEMPLATES / "models.md.j2",
        dataset=dataset,
        columns=["model", "parameters", *(f"{recipe}: {column}" for recipe in RECIPES for column in columns)],
        rows=[
            [
                model,
                f"{rows[model]['paper']['num_params']:,}",
                *(cell for row in rows[model].values() for cell in cells(row)),
            ]
            for model in sorted(rows, key=best.__getitem__)
        ],
        behind=behind,
        baseline=BASELINE,
        declined=declined,
        waiting=waiting,
        notes=notes,
        seed=seed,
        sizes=", ".join(f"{key.removeprefix('model.')} {value}" for key, value in SIZES.items()),
        num_epochs=NUM_EPOCHS,
    )


def cells(row: dict[str, Any]) -> list[str]:
    """Format what one run reached."""
    metrics = [metric.format(row[f"valid_{metric.name}"]) for metric in SHOWN]
    return [f"{row['cpu_seconds_per_epoch']:.2f}", str(row["best_epoch"]), *metrics]


if __name__ == "__main__":
    run(main)
