"""Fetch or generate the raw files of a data set."""

import shutil
import sys
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

    sources.json beside fetched files says where they come from. Files that the user put there stay as they are.

    Raises ValueError if a file can't be fetched, if it is neither fetched nor there, or if params.yaml is wrong, and
    OSError if a file can't be written.
    """
    from pipelines.data.card import SOURCES, describe
    from pipelines.data.fetch import checksum_like, fetch, has_checksum
    from pipelines.data.unpack import unpack
    from pipelines.project.files import write_json
    from pipelines.project.params import load_params

    seed = load_params(params).seed  # first, so that a mistyped --params leaves no data behind
    folder = Paths(params.parent).raw(dataset.name)
    if isinstance(dataset, Dataset) and dataset.generated:
        return generate(dataset, folder, seed)
    if isinstance(dataset, Dataset) and not dataset.sources:
        return put_there(dataset, folder)
    files, raw_files, paths = [fetch(source) for source in dataset.sources], [], []
    for source, file in zip(dataset.sources, files, strict=True):
        released, checksum = has_checksum(file, source.checksum), checksum_like("sha256", file)
        unpacked = unpack(source, file, folder)
        raw_files += [describe(path, source, released, checksum) for path in unpacked]
        paths += unpacked
    write_json(folder / SOURCES, [raw_file.model_dump() for raw_file in raw_files])
    for note in dict.fromkeys(raw_file.note for raw_file in raw_files if raw_file.note):
        print(f"note: {note}", file=sys.stderr)
    return dataset.all_files() if isinstance(dataset, OwnDataset) else paths  # own files stay where they are


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
