"""Download stage: fetch the files of a data set, or generate the synthetic one, into data/raw/<data set>."""

import shutil
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from pipelines.data.catalog import Dataset, get_dataset, list_datasets
from pipelines.project.cli import DatasetOption, ParamsOption, run
from pipelines.project.paths import Paths

ListOption = Annotated[bool, typer.Option("--list", help="Show all data sets with licence and citation.")]


def main(
    dataset: DatasetOption = "",
    params: ParamsOption = Path("params.yaml"),
    show_list: ListOption = False,
) -> None:
    """Fetch a data set's files into data/raw/, by way of a cache; or list all data sets."""
    if show_list:
        print("\n\n".join(describe(get_dataset(name)) for name in list_datasets()))
        return
    if not dataset:
        raise ValueError(f"--dataset is missing; choose one of: {', '.join(list_datasets())}")
    for path in download(get_dataset(dataset), params):
        print(path)


def describe(dataset: Dataset) -> str:
    """An entry in lines that fit the terminal, or 80 columns where there is none."""
    lines = [f"  {dataset.title}", f"  licence: {dataset.licence}", f"  citation: {dataset.citation}"]
    wrapper = textwrap.TextWrapper(
        width=shutil.get_terminal_size().columns,
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join([dataset.name, *(wrapper.fill(line) for line in lines)])


def download(dataset: Dataset, params: Path) -> list[Path]:
    """The raw files of a data set, fetched or generated.

    Raises ValueError when a file can't be had or params.yaml is wrong; OSError when one can't be written.
    """
    from pipelines.data.fetch import fetch
    from pipelines.data.unpack import unpack
    from pipelines.project.params import load_params

    seed = load_params(params).seed  # first: a mistyped --params is no place for data
    folder = Paths(params.parent).raw(dataset.name)
    if not dataset.sources:
        return generate(dataset, folder, seed)
    files = [fetch(source) for source in dataset.sources]
    return [path for source, file in zip(dataset.sources, files, strict=True) for path in unpack(source, file, folder)]


def generate(dataset: Dataset, folder: Path, seed: int) -> list[Path]:
    from pipelines.data.synthetic import write_log
    from pipelines.project.seeds import seed_for

    write_log(folder, seed_for(seed, "download", dataset.name))
    return [folder / "log.csv"]


if __name__ == "__main__":
    run(main)
