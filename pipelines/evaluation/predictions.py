"""Keep the logits of final runs, for ensembles."""

import shutil
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from pipelines.project.files import written_whole
from pipelines.project.records import damaged, existing

SPLITS = ("valid", "test")


def write_predictions(file: Path, logits: Mapping[str, np.ndarray]) -> None:
    """Write the logits `[rows]` of each split."""
    with written_whole(file) as partial, partial.open("wb") as stream:
        np.savez(stream, valid=logits["valid"], test=logits["test"])


def read_predictions(file: Path, command: str) -> dict[str, np.ndarray]:
    """Read the logits of each split. Raises Missing and ValueError that name the command to run."""
    existing(file, command)
    try:
        with np.load(file, allow_pickle=False) as content:
            return {split: content[split] for split in SPLITS}
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise damaged(file, str(error).splitlines()[0], command) from error


def copy_predictions(files: Iterable[Path], folder: Path) -> None:
    """Make a folder have the kept predictions of these runs alone."""
    files = list(files)
    for file in files:
        with written_whole(folder / file.name) as partial:
            shutil.copyfile(file, partial)
    for other in {*folder.glob("*.npz")} - {folder / file.name for file in files}:
        other.unlink()
