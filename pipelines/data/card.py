"""Describe a data set's card: where its files come from, its sizes, and what its split gives away."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from pipelines.data.catalog import Dataset
from pipelines.data.own import OwnDataset
from pipelines.data.sources import Source
from pipelines.project.files import file_digest
from pipelines.project.metric import METRICS
from pipelines.project.paths import Paths
from pipelines.project.predicted import Predicted
from pipelines.project.records import ABSENT, Record, read_record

PIECE = 262_144  # rows that are counted together
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


class Reachable(Record):
    """Hold the best metrics on the test rows of a generated log, by name."""

    best: dict[str, float]  # of a model that knows how the log was made, and every training row
    without_rows: dict[str, float]  # of one that knows only how the log was made


class Planted(Record):
    """Hold what is known of a generated log: the strength of each pair, and the best that a model can reach."""

    strengths: dict[str, float]  # by FIELD-FIELD
    reachable: Reachable


class Card(Record):
    """Hold the card of a prepared data set."""

    dataset: str
    split: str  # released, or prepare.split
    field_dims: dict[str, int]
    num_rows: dict[str, int]
    num_positives: dict[str, int]
    known_pairs: KnownPairs
    auc_of_counting: float | None = ABSENT  # of a data set whose negatives replace a field
    raw_files: list[RawFile]
    planted: Planted | None = ABSENT  # of a generated log

    @property
    def counting(self) -> str:
        """Write a sentence on what counting tells; none where negatives replace no field."""
        if self.auc_of_counting is None:
            return ""
        replaced = self.known_pairs.fields[-1]
        return (
            f"Ranked by the share of negatives among training rows that differ only in the {replaced}, test rows have "
            f"AUC {self.auc_of_counting:.4f}; 0.5 would give nothing away."
        )

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


def card_of(
    dataset: Dataset | OwnDataset,
    schema: dict[str, Any],
    split: str,
    folder: Path,
    files: Sequence[Path],
    planted: Planted | None = None,
) -> Card:
    """Make the card of the data that was written to `folder`. `split` is that of params.yaml, for a log."""
    if dataset.format == "libfm":
        split = "released"
    elif isinstance(dataset, OwnDataset):
        split = dataset.split.by
    files_of_rows = [folder / f"{part}.parquet" for part in ("train", "test")]
    others = [field for field in dataset.fields if field != dataset.replace]
    return Card(
        dataset=dataset.name,
        split=split,
        field_dims=dict(zip(schema["fields"], schema["field_dims"], strict=True)),
        num_rows=schema["num_rows"],
        num_positives=schema["num_positives"],
        known_pairs=known_pairs(dataset.pair, *files_of_rows),
        auc_of_counting=auc_of_counting(others, *files_of_rows) if dataset.replace else None,
        raw_files=[described(file) for file in files],
        planted=planted,
    )


def known_pairs(fields: Sequence[str], train: Path, test: Path) -> KnownPairs:
    """Count the test rows with the same features of some fields as a training positive."""
    known = pl.scan_parquet(train).filter(pl.col("label") == 1).select(fields).unique()
    rows = pl.scan_parquet(test).select("label", *fields)
    counts = [table.group_by("label").len().collect() for table in (rows.join(known, on=fields, how="semi"), rows)]
    found, all_rows = (dict(table.iter_rows()) for table in counts)
    positives, negatives = (Known(known=found.get(label, 0), rows=all_rows[label]) for label in (1, -1))
    return KnownPairs(fields=list(fields), positives=positives, negatives=negatives)


def auc_of_counting(fields: Sequence[str], train: Path, test: Path) -> float:
    """Rank test rows by the share of negatives among training rows with the same features.

    `fields` are all but the one that negatives replace, so no score knows it. If a positive and its negatives are in
    different parts, those in train say what is left: after both negatives, the positive. Returns the AUC on the test
    rows, 0.5 where counting tells nothing.
    """
    context = pl.struct(fields).hash().alias("context")
    asked = pl.scan_parquet(test).select("label", context).collect()
    contexts, place = np.unique(asked["context"].to_numpy(), return_inverse=True)
    negatives, rows = np.zeros((2, len(contexts)))  # of each context, in train
    num_rows = pl.scan_parquet(train).select(pl.len()).collect().item()
    for start in range(0, num_rows, PIECE):
        some = pl.scan_parquet(train).slice(start, PIECE).select("label", context).collect()
        at = np.searchsorted(contexts, some["context"].to_numpy()).clip(max=len(contexts) - 1)
        found = contexts[at] == some["context"].to_numpy()
        rows += np.bincount(at[found], minlength=len(contexts))
        negatives += np.bincount(at[found & (some["label"].to_numpy() < 0)], minlength=len(contexts))
    prior = negatives.sum() / max(1, rows.sum())
    share = ((negatives + prior) / (rows + 1)).round(6)[place]  # equal shares may differ in their last digits
    return METRICS["auc"].value(Predicted(share, share, asked["label"].to_numpy()))
