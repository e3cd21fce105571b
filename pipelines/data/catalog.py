"""Read the data sets of `datasets/`: where each comes from, its licence, and what its log means."""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError

from pipelines.project.cli import one_of
from pipelines.project.records import Schema, explain

# `datasets/` of the repository, or its copy in an installed package.
FOLDER = next(
    folder
    for folder in (Path(__file__).parents[2] / "datasets", Path(__file__).with_name("datasets"))
    if (folder / "synthetic.yaml").exists()
)
PUBLISHED = {"embed_dim": 256, "max_epochs": 100}  # with which the figures of `published_rmse` were made


class Source(Schema):
    """Name one file to fetch."""

    url: str
    checksum: str  # ALGORITHM:HEX; git-blob is the SHA-1 that git gives the content
    members: tuple[str, ...] = ()  # the files wanted from a zip archive; none: the file itself
    variants: dict[str, str] = Field(default={})  # by checksum: how a file that a mirror may have differs from this one

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


class Dataset(Schema):
    """Describe a data set.

    A log (any format but libfm) has positives only. `prepare` adds negatives: it replaces the feature of field
    `replace` with one that does not occur in the log together with the row's features of the fields `given`. Of a
    released split, these say how its negatives were made.
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

    @property
    def pair(self) -> tuple[str, ...]:
        """Return the fields that a model may know again: `given` and `replace`, or else the first two fields."""
        return (*self.given, self.replace) if self.replace else self.fields[:2]


def list_datasets() -> list[str]:
    """List the names of all data sets."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


@cache
def get_dataset(name: str) -> Dataset:
    """Read datasets/NAME.yaml. Raises ValueError for an unknown name, and for a file with a wrong key or value."""
    file = FOLDER / f"{one_of('data set', name, list_datasets())}.yaml"
    try:
        return Dataset.model_validate({"name": name, **yaml.safe_load(file.read_text(encoding="utf-8"))})
    except (yaml.YAMLError, TypeError) as error:
        raise ValueError(f"{file}: not YAML: {error}") from error
    except ValidationError as error:
        raise ValueError(f"{file}: {explain(error, Dataset)}") from error
