"""Compare size, speed and validation RMSE of all models under one setting."""

import statistics
from pathlib import Path
from typing import Any

from pipelines.project.cli import DatasetOption, ParamsOption, run
from pipelines.project.files import write_json, write_text
from pipelines.project.metric import METRICS, Metric
from pipelines.project.params import Params, load_params
from pipelines.project.paths import Paths
from pipelines.project.records import read_record
from pipelines.reporting.pages import TEMPLATES, render

NUM_EPOCHS = 10
SETTING = {"model.embed_dim": 64, "model.attention_dim": 16}  # the rest as in each paper
TRAINING = {"learning_rate": 0.02, "batch_size": 1024, "max_epochs": NUM_EPOCHS, "patience": NUM_EPOCHS}


def main(dataset: DatasetOption = "frappe", params: ParamsOption = Path("params.yaml")) -> None:
    """Train every model that has gradients for ten epochs with one setting.

    Writes results/models.md and results/models.json. Finished models are not
    trained again. Nothing is tuned and no test row is read, so the table does
    not say which model is best.
    """
    config, paths = load_params(params), Paths(params.parent)
    from models.registry import get_model, is_closed_form, list_models  # torch takes seconds to import
    from pipelines.training.cell import fingerprint, load_cell
    from pipelines.training.process import prepare_process

    prepare_process()

    fixed = config.model_copy(update={"training": config.training.model_copy(update=TRAINING)})
    rows = []
    for model in (name for name in list_models() if not is_closed_form(get_model(name))):
        cell = load_cell(model, dataset, fixed, paths)
        done = paths.study(dataset, model) / f"compare-{fingerprint(cell, {}, SETTING)}.json"
        if not done.exists():
            write_json(done, train_once(cell))
        rows.append(read_record(done, dict[str, Any], f"rm {done}, then python -m pipelines.compare"))
        print(*rows[-1].values(), sep="  ", flush=True)
    write_json(paths.root / "results" / "models.json", rows)
    write_text(paths.root / "results" / "models.md", markdown(dataset, rows, fixed))


def train_once(cell: Any) -> dict[str, Any]:
    """Train one model, and return its row of the table.

    The row has the number of parameters, the median seconds per epoch and the validation metrics of the best epoch, or
    why the model declines the data set.
    """
    from models.registry import hyperparameters, why_declined
    from pipelines.training import loop, start

    if reason := why_declined(cell.model, cell.schema["fields"]):
        return {"model": cell.model, "declined": reason}
    known = hyperparameters(cell.model)
    setting = {key: value for key, value in SETTING.items() if key.removeprefix("model.") in known}
    model, epochs = cell.train(setting, cell.seed("compare"))
    best = loop.best(epochs, cell.training.metric)
    return {
        "model": cell.model,
        "num_params": start.num_params(model),
        "seconds_per_epoch": statistics.median(epoch.seconds for epoch in epochs),
        "best_epoch": best.epoch,
        **best.valid.named("valid"),
    }


def markdown(dataset: str, rows: list[dict[str, Any]], params: Params) -> str:
    """Render the table, best model first, with the setting used."""
    metric = METRICS[params.training.metric]
    shown = [METRICS[name] for name in dict.fromkeys((metric.name, "rmse", "auc"))]
    trained = (entry for entry in rows if "declined" not in entry)
    ranked = sorted(trained, key=lambda entry: metric.score(entry[f"valid_{metric.name}"]))
    return render(
        TEMPLATES / "models.md.j2",
        dataset=dataset,
        columns=[f"valid {each.title}" for each in shown],
        rows=[format_row(entry, shown) for entry in ranked],
        declined=[entry for entry in rows if "declined" in entry],
        seed=params.seed,
        setting=", ".join(f"{key} {value}" for key, value in (SETTING | TRAINING).items()),
        optimizer=params.training.optimizer,
    )


def format_row(entry: dict[str, Any], metrics: list[Metric]) -> list[str]:
    sizes = [f"{entry['num_params']:,}", f"{entry['seconds_per_epoch']:.2f}", str(entry["best_epoch"])]
    return [entry["model"], *sizes, *(metric.format(entry[f"valid_{metric.name}"]) for metric in metrics)]


if __name__ == "__main__":
    run(main)
