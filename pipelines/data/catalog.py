"""Read the data sets of `datasets/`: where each comes from, its licence, and what its rows mean."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError

from pipelines.data.own import OwnDataset
from pipelines.project.cli import one_of
from pipelines.project.paths import shipped
from pipelines.project.records import Schema, explain

FOLDER = shipped("datasets")
PUBLISHED = {"embed_dim": 256, "max_epochs": 100}  # with which the figures of `published_rmse` were made


class Source(Schema):
    """Name one file to fetch."""

    url: str
    checksum: str  # ALGORITHM:HEX; git-blob is the SHA-1 that git gives the content
    members: tuple[str, ...] = ()  # the files wanted from a zip archive; none: the file itself

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


class Dataset(Schema):
    """Describe a data set.

    A log (any format but libfm) has positives only. `prepare` adds negatives: it replaces the feature of field
    `replace` with one that does not occur in the log together with the row's features of the fields `given`.
    """

    name: str
    title: str
    licence: str
    citation: str
    format: Literal["frappe", "tags.dat", "tags.csv", "libfm", "synthetic"]
    fields: Annotated[tuple[str, ...], Field(min_length=1)]
    sources: tuple[Source, ...] = ()
    replace: str = ""
    given: tuple[str, ...] = ()
    published_rmse: dict[str, float] = Field(default={})  # Table 2 of the IFM paper, where this is its data

    @property
    def family(self) -> str:
        """Return the part of the name that all releases share; the paper's settings differ by family."""
        return self.name.split("-")[0]


def files(root: Path) -> dict[str, Path]:
    """Find the file of each data set: those of `datasets/` beside params.yaml or above it hide built-in ones."""
    root = root.resolve()
    folders = [FOLDER, *(folder / "datasets" for folder in (*reversed(root.parents), root))]
    return {file.stem: file for folder in folders for file in sorted(folder.glob("*.yaml"))}


def list_datasets(root: Path = Path()) -> list[str]:
    """List the names of all data sets."""
    return sorted(files(root))


def get_dataset(name: str, root: Path = Path()) -> Dataset | OwnDataset:
    """Read datasets/NAME.yaml. Raises ValueError for an unknown name, and for a file with a wrong key or value."""
    known = files(root)
    file = known[one_of("data set", name, known)]
    try:
        content = {"name": name, **yaml.safe_load(file.read_text(encoding="utf-8"))}
    except (yaml.YAMLError, TypeError) as error:
        raise ValueError(f"{file}: not YAML: {error}") from error
    own = content.get("format") == "table"
    try:
        return OwnDataset(**content, folder=file.parents[1]) if own else Dataset(**content)
    except ValidationError as error:
        raise ValueError(f"{file}: {explain(error, OwnDataset if own else Dataset)}") from error
