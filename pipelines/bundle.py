"""Keep the best final run of a model as a bundle."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.data.catalog import Dataset, get_dataset
from pipelines.data.layouts import Layout
from pipelines.data.own import OwnDataset
from pipelines.evaluation.results import Best, check_metric, read_best, read_summary
from pipelines.project import code
from pipelines.project.cli import DatasetOption, ModelOption, ParamsOption, note, run
from pipelines.project.metric import METRICS
from pipelines.project.params import load_params
from pipelines.project.paths import Paths

if TYPE_CHECKING:
    import polars as pl

TOLERANCE = 1e-3  # relative, between a run and its repetition on another machine


def main(
    model: ModelOption,
    dataset: DatasetOption,
    params: ParamsOption = Path("params.yaml"),
    out: Annotated[Path | None, typer.Option(help="Folder of the bundle; otherwise bundles/DATASET/MODEL.")] = None,
) -> None:
    """Keep the best final run of a model, to score other rows.

    It is the run that `evaluate` found best on validation rows. Without
    `evaluate.keep`, it is trained again with the same seed: the same code gives
    the same weights.

    Writes model.safetensors, vocabulary.parquet and bundle.json, and what
    `predict` needs of your side tables.
    """
    config, paths = load_params(params), Paths(params.parent)
    entry, results = get_dataset(dataset, paths.root), paths.results(dataset, model)
    best, summary = read_best(results, model, dataset), read_summary(results, model, dataset)
    if not isinstance(best, Best) or not summary.seeds:
        raise ValueError(f"{model} declines {dataset}: there is no run to keep")
    check_metric(best, config.training.metric)
    from pipelines.evaluation.bundles import positive_rate, write_bundle  # torch takes seconds to import
    from pipelines.evaluation.final_runs import final_seed, kept_model, run_files
    from pipelines.project.settings import resolve
    from pipelines.training.cell import load_cell
    from pipelines.training.epochs import Epoch, best_epoch
    from pipelines.training.process import prepare_process

    metric = METRICS[config.training.metric]
    name = f"valid_{metric.name}"
    seed, found = min(summary.seeds.items(), key=lambda item: metric.score(getattr(item[1], name)))
    prepare_process()
    cell = load_cell(model, dataset, config, paths)

    def report(epoch: Epoch) -> None:
        value = metric.format(epoch.valid[metric.name])
        print(f"epoch {epoch.epoch} of {found.epochs}: valid {metric.title} {value}", flush=True)

    files = run_files(cell, best.setting, config, paths.study(dataset, model))
    trained = kept_model(cell, best.setting, files.get(int(seed)))
    valid = {key.removeprefix("valid_"): value for key, value in found.figures().items() if key.startswith("valid_")}
    if trained is None:
        trained, epochs = cell.train(best.setting, final_seed(cell, int(seed)), report)
        code.check()
        valid = best_epoch(epochs, metric.name).valid
    reached, expected = valid[metric.name], getattr(found, name)
    if abs(reached - expected) > TOLERANCE * abs(expected):
        note(
            f"{name} is {metric.format(reached)}, and was {metric.format(expected)} when {model} was evaluated: "
            "the code or data has changed"
        )
    arguments, training = resolve(best.setting, config.training)
    tested = found.figures()
    negatives = entry.negatives if isinstance(entry, OwnDataset) else entry
    folder = out or paths.bundle(dataset, model)
    write_bundle(
        folder,
        trained,
        paths.processed(dataset) / "vocabulary.parquet",
        model=model,
        arguments=arguments,
        loss=training.loss,
        dataset=dataset,
        fields=cell.schema["fields"],
        field_dims=cell.schema["field_dims"],
        fitted=cell.schema.get("fitted", {}),
        layout=layout_of(entry),
        sides=sides_of(entry),
        data=cell.schema["values"],
        rate=positive_rate(cell.train_rows),
        replace=negatives.replace if negatives else "",
        given=list(negatives.given) if negatives else [],
        licence=entry.licence,
        citation=entry.citation,
        seed=int(seed),
        valid=valid,
        test={each: tested[f"test_{each}"] for each in METRICS if f"test_{each}" in tested},
        made_by=cell.made_by(),
    )
    value = metric.format(tested[f"test_{metric.name}"])
    print(f"{folder}: {model} on {dataset}, seed {seed}, test {metric.title} {value}")


def layout_of(entry: Dataset | OwnDataset) -> Layout:
    """Return the layout of text files with rows of a data set."""
    if isinstance(entry, OwnDataset):
        return Layout(**{key: getattr(entry, key) for key in Layout.model_fields})
    return Layout()


def sides_of(entry: Dataset | OwnDataset) -> list[tuple[str, "pl.DataFrame"]]:
    """Read keys and columns of fields of a data set's side tables. Tables without such columns are left out."""
    from pipelines.data.tables import read_side

    found: list[tuple[str, pl.DataFrame]] = []
    if not isinstance(entry, OwnDataset):
        return found
    needed = {entry.source(field) for field in entry.fields}
    for join in reversed(entry.joins):  # the key of a table may come from one before
        side = read_side(entry, join)
        if columns := [column for column in side.columns if column in needed and column != join.key]:
            found.append((join.key, side.select(join.key, *columns)))
            needed.add(join.key)
    return found[::-1]


if __name__ == "__main__":
    run(main)
