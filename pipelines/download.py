"""Fetch or generate the raw files of a data set."""

import shutil
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from pipelines.data.catalog import Dataset, get_dataset, list_datasets
from pipelines.data.own import OwnDataset
from pipelines.project.cli import DatasetOption, ParamsOption, run
from pipelines.project.paths import Paths

ListOption = Annotated[bool, typer.Option("--list", help="Show all data sets with licences and citations.")]


def main(
    dataset: DatasetOption = "",
    params: ParamsOption = Path("params.yaml"),
    show_list: ListOption = False,
) -> None:
    """Fetch a data set's files into data/raw/DATASET.

    Downloaded files are cached. The synthetic data set is generated.
    """
    if show_list:
        names = list_datasets(params.parent)
        print("\n\n".join(format_dataset(get_dataset(name, params.parent)) for name in names))
        return
    if not dataset:
        raise ValueError(f"--dataset is missing; choose one of: {', '.join(list_datasets(params.parent))}")
    for path in download(get_dataset(dataset, params.parent), params):
        print(path)


def format_dataset(dataset: Dataset | OwnDataset) -> str:
    """Describe a data set in lines that fit the terminal (80 columns without one)."""
    lines = [f"  {dataset.title}", f"  licence: {dataset.licence}", f"  citation: {dataset.citation}"]
    wrapper = textwrap.TextWrapper(
        width=shutil.get_terminal_size().columns,
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join([dataset.name, *(wrapper.fill(line) for line in lines)])


def download(dataset: Dataset | OwnDataset, params: Path) -> list[Path]:
    """Fetch or generate the raw files of a data set, and return their paths.

    Files that the user put there stay as they are. Raises ValueError if a file can't be fetched, is neither fetched nor
    there, or params.yaml is wrong, and OSError if a file can't be written.
    """
    from pipelines.data.fetch import fetch
    from pipelines.data.unpack import unpack
    from pipelines.project.params import load_params

    seed = load_params(params).seed  # first, so that a mistyped --params leaves no data behind
    folder = Paths(params.parent).raw(dataset.name)
    if isinstance(dataset, OwnDataset):  # read where its owner keeps it
        return [path for paths in dataset.paths().values() for path in paths]
    if dataset.generated:
        return generate(dataset, folder, seed)
    if not dataset.sources:
        return put_there(dataset, folder)
    files = [fetch(source) for source in dataset.sources]
    return [path for source, file in zip(dataset.sources, files, strict=True) for path in unpack(source, file, folder)]


def put_there(dataset: Dataset, folder: Path) -> list[Path]:
    """List the raw files of a data set without sources. Raises ValueError that says where to put a missing file."""
    files = [folder / name for name in dataset.files]
    for file in files:
        if not file.exists():
            raise ValueError(
                f"datasets/{dataset.name}.yaml has no sources: put the file of format {dataset.format} at "
                f"{file}, and run this command again"
            )
    return files


def generate(dataset: Dataset, folder: Path, seed: int) -> list[Path]:
    from pipelines.data.synthetic import write_log
    from pipelines.project.seeds import seed_for

    write_log(folder, seed_for(seed, "download", dataset.name))
    return [folder / "log.csv"]


if __name__ == "__main__":
    run(main)
