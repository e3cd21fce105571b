"""List the result files of a data set's cells, for the stages that gather results."""

from pathlib import Path

from pipelines.project.cli import DatasetOption, ParamsOption, one_of, run
from pipelines.project.files import failure, file_digest, write_json
from pipelines.project.params import load_params
from pipelines.project.paths import Paths

FILES = ("best.json", "trials.csv", "metrics.json", "curves.csv", "resamples.csv")


def main(dataset: DatasetOption, params: ParamsOption = Path("params.yaml")) -> None:
    """List the result files of a data set's cells, with their digests.

    A stage of DVC that gathers the cells of all data sets can't have one
    dependency for each. It depends on these lists instead. A cell without
    results is listed with the reason, if its last run failed.

    Writes results/cells/DATASET.json.
    """
    config, paths = load_params(params), Paths(params.parent)
    one_of("data set", dataset, config.datasets)
    files = {"card.json": paths.card(dataset), "ensembles.json": paths.ensembles(dataset)}
    shared = {name: file_digest(file) for name, file in files.items() if file.exists()}
    cells: dict[str, dict[str, str]] = {"data": shared} if shared else {}
    cells |= {model: list_files(paths, dataset, model) for model in config.models}
    write_json(paths.cells / f"{dataset}.json", cells)
    for model in config.models:
        files = cells[model]
        print(f"{model} on {dataset}: {files.get('failed') or f'{len(files)} of {len(FILES)} files'}")


def list_files(paths: Paths, dataset: str, model: str) -> dict[str, str]:
    """Map a cell's files to their digests.

    Where results are missing, `failed` is why the last run failed, if it did.
    """
    folder = paths.results(dataset, model)
    files = {name: file_digest(folder / name) for name in FILES if (folder / name).exists()}
    reason = failure(paths.study(dataset, model)) if len(files) < len(FILES) else None
    return {**files, "failed": reason} if reason else files


if __name__ == "__main__":
    run(main)
