"""Train one model once with given hyperparameters."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.project.cli import DatasetOption, ModelOption, ParamsOption, run
from pipelines.project.params import load_params
from pipelines.project.paths import Paths


def main(
    model: ModelOption,
    dataset: DatasetOption,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE, such as model.embed_dim=256 or training.batch_size=4096; repeatable."),
    ] = None,
    params: ParamsOption = Path("params.yaml"),
    as_json: Annotated[bool, typer.Option("--json", help="Print each line as a JSON object.")] = False,
) -> None:
    """Train one model once, and test it at its best validation epoch.

    Prints one line for each epoch, then one line with the test metrics.
    """
    config, paths = load_params(params), Paths(params.parent)
    from pipelines.data.catalog import get_dataset
    from pipelines.data.rows import load_rows
    from pipelines.project.settings import parse_assignments, resolve
    from pipelines.training import process, start
    from pipelines.training.cell import check_groups, load_cell
    from pipelines.training.epochs import Epoch, best_epoch
    from pipelines.training.metrics import defined
    from pipelines.training.predicting import evaluate

    setting = parse_assignments(assignments or [])
    arguments, config_training = resolve(setting, config.training)
    config = config.model_copy(update={"training": config_training})
    process.prepare_process()
    show = print_json if as_json else print_line
    done: list[Epoch] = []
    described = get_dataset(dataset, paths.root)

    def seen(epoch: Epoch) -> None:
        done.append(epoch)
        show(epoch.row())

    if config_training.num_workers > 1:
        from pipelines.training import parallel

        fitted, peak = parallel.train_together(model, dataset, arguments, config, paths, seen)
        folder, group = paths.processed(dataset), described.group_place
        test = parallel.evaluate_file(fitted, folder, "test", config_training.loss, group)
    else:
        cell = load_cell(model, dataset, config, paths)
        fitted, _ = cell.train({f"model.{key}": value for key, value in arguments.items()}, cell.seed("train"), seen)
        rows = load_rows(paths.processed(dataset), "test", described.group_place)
        check_groups(described, config_training.metric, "test", rows)
        test = evaluate(fitted, rows, config_training.loss, names=defined(rows.labels, rows.groups))
        peak = 0.0
    show(
        {
            "best_epoch": best_epoch(done, config_training.metric).epoch,
            **test.named("test"),
            "num_params": start.num_params(fitted),
            "peak_memory_mb": max(peak, process.peak_memory_mb()),
        }
    )


def print_json(record: dict[str, Any]) -> None:
    print(json.dumps(record), flush=True)


def print_line(record: dict[str, Any]) -> None:
    words = (f"{key} {value:.4f}" if isinstance(value, float) else f"{key} {value:,}" for key, value in record.items())
    print("  ".join(words), flush=True)


if __name__ == "__main__":
    run(main)
