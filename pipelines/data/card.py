"""Describe a data set's card: where its files come from, its sizes, and which pairs the test split knows."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from pipelines.data.catalog import Source
from pipelines.project.files import file_digest
from pipelines.project.paths import Paths
from pipelines.project.records import Record, read_record

SOURCES = "sources.json"  # beside the raw files


class RawFile(Record):
    """Say what a raw file is.

    `released` tells whether its source has the checksum of `datasets/NAME.yaml`; None if nobody knows, because the file
    was put there by hand or is generated. `difference` says in words what is known of another file.
    """

    name: str
    sha256: str
    source: str | None = None
    released: bool | None = None
    difference: str | None = None

    @property
    def note(self) -> str | None:
        """Say that the source is not the released file."""
        if self.released is not False:
            return None
        return f"{self.source} is not the released file" + (f": {self.difference}" if self.difference else "")


class Known(Record):
    """Count a class's test rows, and those whose pair is known."""

    known: int
    rows: int

    @property
    def share(self) -> float:
        return self.known / self.rows


class KnownPairs(Record):
    """Count known pairs: rows of the test split whose pair is that of some training positive."""

    fields: list[str]
    positives: Known
    negatives: Known

    @property
    def pair(self) -> str:
        """Name the fields. Example: "user, movie and tag"."""
        return " and ".join(filter(None, (", ".join(self.fields[:-1]), self.fields[-1])))


class Card(Record):
    """Hold the card of a prepared data set."""

    dataset: str
    split: str  # released, or prepare.split
    field_dims: dict[str, int]
    num_rows: dict[str, int]
    num_positives: dict[str, int]
    known_pairs: KnownPairs
    raw_files: list[RawFile]

    @property
    def notes(self) -> list[str]:
        """Say which sources are not the released files."""
        return list(dict.fromkeys(file.note for file in self.raw_files if file.note))

    @property
    def origin(self) -> dict[str, dict[str, Any]]:
        """Identify the raw files, for the record of what made a result."""
        return {file.name: {"sha256": file.sha256, "released": file.released} for file in self.raw_files}


def read_card(paths: Paths, dataset: str) -> Card | None:
    """Read the card that `prepare` wrote. Returns None if there is none. Raises ValueError for a damaged one."""
    file = paths.card(dataset)
    return read_record(file, Card, f"python -m pipelines.prepare --dataset {dataset}") if file.exists() else None


def describe(path: Path, source: Source, released: bool, checksum: str) -> RawFile:
    """Describe a raw file that comes from a source whose file has a checksum."""
    difference = None if released else source.variants.get(checksum)
    return RawFile(
        name=path.name, sha256=file_digest(path), source=source.name, released=released, difference=difference
    )


def described(file: Path) -> RawFile:
    """Describe a raw file as `download` did, if it is still the same file."""
    digest, record = file_digest(file), file.with_name(SOURCES)
    known = TypeAdapter(list[RawFile]).validate_json(record.read_bytes()) if record.exists() else []
    return next(
        (raw for raw in known if (raw.name, raw.sha256) == (file.name, digest)), RawFile(name=file.name, sha256=digest)
    )
