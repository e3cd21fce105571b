"""Encode a data set, draw negatives for its log, and split the rows."""

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from pipelines.data.card import Card, Known, KnownPairs, described
from pipelines.data.catalog import Dataset
from pipelines.data.encoding import Encoded, encode
from pipelines.data.fitting import encode_own, labels_of, split_of
from pipelines.data.libfm import by_field, read_libfm
from pipelines.data.logs import read_log
from pipelines.data.negatives import draw_negatives, group_rows
from pipelines.data.own import OwnDataset
from pipelines.data.splitting import split_groups, split_rows
from pipelines.data.tables import read_table
from pipelines.project.cli import note, phases
from pipelines.project.files import file_digest, write_json, written_whole
from pipelines.project.params import Params
from pipelines.project.paths import Paths
from pipelines.project.records import write_record
from pipelines.project.seeds import seed_for

ROW_GROUP_SIZE = 262_144  # all settings of the parquet files are fixed, so that every run writes the same bytes
NO_ROWS = pl.DataFrame({"row": np.empty(0, dtype=np.int64)})

Splits = dict[str, "Split"]  # train, valid, test


class Split(NamedTuple):
    """Hold a split's lazy table of label and fields. Writing it computes some rows at a time."""

    num_rows: int
    num_positives: int
    table: pl.LazyFrame


def prepare(dataset: Dataset | OwnDataset, params: Params, paths: Paths) -> dict[str, Any]:
    """Write the processed files and the card of `dataset`, and return its schema.

    `train.parquet`, `valid.parquet`, `test.parquet`: `label` (±1, Int8), one Int32 column of feature ids per field,
    and one Float32 column `value:FIELD` per field unless all values are 1.
    `vocabulary.parquet`: field, feature_id, raw_value.
    `files.json`: digests of the bytes of these files.
    `schema.json`: the schema, with digests of the values alone, on which results depend. It is written last, so if it
    exists, all files exist. The same raw files and params give the same bytes.
    `results/NAME/card.json`: what pages show of the data, on which no result depends.

    Raises ValueError for raw files that are missing or invalid, for a log with too few values to draw negatives from,
    and for a split that lacks a class. Raises OSError when a file can't be read or written.
    """
    with phases(dataset.name) as begin:
        return prepare_in(paths, dataset, params, begin)


def prepare_in(
    paths: Paths, dataset: Dataset | OwnDataset, params: Params, begin: Callable[[str], None]
) -> dict[str, Any]:
    """Do the work of `prepare`, phase by phase."""
    folder = paths.processed(dataset.name)
    seeds = {part: seed_for(params.seed, "prepare", dataset.name, part) for part in ("negatives", "split")}
    begin("reads and encodes the rows")
    if isinstance(dataset, OwnDataset):
        files = [file for part in dataset.paths().values() for file in part]
        encoded, splits = splits_of_table(dataset, params, seeds["split"])
    elif dataset.format == "libfm":
        if (asked := params.prepare.split) != "random":
            whose = f"data set {dataset.name!r} comes with its split"
            raise ValueError(f"{whose}: prepare.split must be random, not {asked}")
        files = raw_files(dataset, paths.raw(dataset.name))
        encoded, splits = splits_as_released(dataset, files)
        seeds = dict.fromkeys(seeds)  # nothing was drawn
    else:
        files = raw_files(dataset, paths.raw(dataset.name))
        encoded, splits = splits_of_log(dataset, files, params, seeds)
    check_classes(dataset, splits)
    (folder / "schema.json").unlink(missing_ok=True)
    tables = {name: split.table for name, split in splits.items()} | {"vocabulary": encoded.vocabulary.lazy()}
    if encoded.lists is not None:
        tables["lists"] = encoded.lists.to_frame("elements").lazy()
    digests = {}
    for name, table in tables.items():
        begin(f"writes {name}.parquet")
        digests[f"{name}.parquet"] = write_parquet(folder / f"{name}.parquet", table)
    write_json(folder / "files.json", digests)
    begin("computes digests")
    values = {name: values_digest(folder / f"{name}.parquet") for name in splits}
    if encoded.lists is not None:
        values["lists"] = hashlib.sha256(repr(encoded.lists.to_list()).encode()).hexdigest()
    schema = schema_of(dataset, encoded, splits) | {"seeds": {"root": params.seed, **seeds}, "values": values}
    write_record(paths.card(dataset.name), card_of(dataset, schema, params, folder, files))
    write_json(folder / "schema.json", schema)
    return schema


def raw_files(dataset: Dataset, folder: Path) -> list[Path]:
    """List the raw files that the download stage wrote to `folder`. Raises ValueError if one is missing."""
    files = [folder / name for name in dataset.files]
    for file in files:
        if not file.exists():
            raise ValueError(f"{file} is missing; run `python -m pipelines.download --dataset {dataset.name}`")
    return files


def splits_as_released(dataset: Dataset, files: list[Path]) -> tuple[Encoded, Splits]:
    """Encode a libfm data set, whose files are train, valid and test in this order."""
    parts = [read_libfm(file, len(dataset.fields)) for file in files]
    indices, values = (np.concatenate([getattr(part, name) for part in parts]) for name in ("indices", "values"))
    try:
        order = by_field(indices, dataset.fields)
    except ValueError as error:
        raise ValueError(f"data set {dataset.name!r}: {error}") from error
    indices, values = (np.take_along_axis(array, order, axis=1) for array in (indices, values))
    encoded = encode([pl.DataFrame(indices, list(dataset.fields)).cast(pl.String)], dataset.fields)
    labels = np.concatenate([part.labels for part in parts])
    table = to_table(dataset, labels, encoded.ids, None if (values == 1).all() else values)
    ends = np.cumsum([len(part.labels) for part in parts])
    tables = [table[end - len(part.labels) : end] for part, end in zip(parts, ends, strict=True)]
    splits = [Split(len(t), int((t["label"] == 1).sum()), t.lazy()) for t in tables]
    return encoded, dict(zip(("train", "valid", "test"), splits, strict=True))


def splits_of_log(dataset: Dataset, files: list[Path], params: Params, seeds: dict[str, int]) -> tuple[Encoded, Splits]:
    """Encode the files of a log, draw negatives, and split lines and negatives together."""
    shares = params.prepare
    encoded = encode(chain.from_iterable(read_log(file, dataset) for file in files), dataset.fields)
    rng = np.random.default_rng(seeds["negatives"])
    negatives, ids = draw_negatives(encoded, dataset, shares.num_negatives, rng), encoded.ids
    if (left_out := negatives[:, 0] < 0).any():
        negatives, ids = negatives[~left_out], ids[~left_out]
    num_lines, replaced = len(ids), dataset.fields.index(dataset.replace)

    def make(rows: pl.DataFrame) -> pl.DataFrame:
        """Make rows from row numbers. The lines of the log come first, then the negatives of each line in turn."""
        row = rows["row"].to_numpy()
        positive = row < num_lines
        line, draw = np.divmod(row - num_lines, shares.num_negatives)
        made = ids[np.where(positive, row, line)]
        made[~positive, replaced] = negatives[line[~positive], draw[~positive]]
        return to_table(dataset, np.where(positive, 1, -1).astype(np.int8), made)

    def split(rows: np.ndarray) -> Split:
        table = pl.LazyFrame({"row": rows}).map_batches(make, streamable=True, schema=make(NO_ROWS).schema)
        return Split(len(rows), int((rows < num_lines).sum()), table)

    rng = np.random.default_rng(seeds["split"])
    if shares.split == "new_pairs":
        pairs = group_rows(pairs_of_log(encoded, dataset, negatives))
        rows = split_groups(pairs, shares.train, shares.valid, rng)
    else:
        rows = split_rows(num_lines + negatives.size, shares.train, shares.valid, rng)
    note_repeats(dataset, ids, {name: part[part < num_lines] for name, part in rows.items()})
    return encoded, {name: split(part) for name, part in rows.items()}


def pairs_of_log(encoded: Encoded, dataset: Dataset, negatives: np.ndarray) -> np.ndarray:
    """Return the ids of the pair's fields: of the log's lines, then of each line's negatives."""
    given = encoded.ids[:, [dataset.fields.index(field) for field in dataset.given]]
    replaced = encoded.ids[:, dataset.fields.index(dataset.replace)]
    lines = np.concatenate([given, np.repeat(given, negatives.shape[1], axis=0)])
    return np.column_stack([lines, np.concatenate([replaced, negatives.ravel()])])


def note_repeats(dataset: Dataset, ids: np.ndarray, lines: dict[str, np.ndarray]) -> None:
    """Print how many test positives are in train too, because the log repeats lines."""
    group = group_rows(ids)
    in_train = np.zeros(len(ids), dtype=bool)
    in_train[group[lines["train"]]] = True
    repeated = in_train[group[lines["test"]]]
    if repeated.any():
        note(
            f"data set {dataset.name!r}: {repeated.sum():,} of {len(repeated):,} test positives are in train too, "
            "because the log repeats lines; remove the repeats from it if a model should not have seen them"
        )


def splits_of_table(dataset: OwnDataset, params: Params, seed: int) -> tuple[Encoded, Splits]:
    """Split a user's own table, and encode it by its training rows."""
    table = read_table(dataset)
    rng = np.random.default_rng(seed)
    rows = split_of(table, dataset, params.prepare.train, params.prepare.valid, rng)
    labels = labels_of(table, dataset)
    encoded, values = encode_own(table, dataset, rows["train"])
    made = {
        part: to_table(dataset, labels[at], encoded.ids[at], None if values is None else values[at])
        for part, at in rows.items()
    }
    return encoded, {part: Split(len(t), int((t["label"] == 1).sum()), t.lazy()) for part, t in made.items()}


def to_table(
    dataset: Dataset | OwnDataset, labels: np.ndarray, ids: np.ndarray, values: np.ndarray | None = None
) -> pl.DataFrame:
    """Make a table of labels and ids. Feature values become columns `value:FIELD` (Float32)."""
    columns = {field: ids[:, column] for column, field in enumerate(dataset.fields)}
    if values is not None:
        columns |= {f"value:{field}": values[:, column] for column, field in enumerate(dataset.fields)}
    return pl.DataFrame({"label": labels, **columns})


def check_classes(dataset: Dataset | OwnDataset, splits: Splits) -> None:
    """Raise ValueError for a split without rows or with one class, which has no AUC."""
    for name, (num_rows, num_positives, _) in splits.items():
        problem = None
        if num_rows == 0:
            problem = "has no rows"
        elif num_positives in (0, num_rows):
            problem = f"has only rows with label {1 if num_positives else -1}"
        if problem:
            raise ValueError(f"data set {dataset.name!r}: the {name} split {problem}; the AUC needs both classes")


def schema_of(dataset: Dataset | OwnDataset, encoded: Encoded, splits: Splits) -> dict[str, Any]:
    """Describe the data for schema.json. `sparsity` is the share of ones in a one-hot row."""
    num_rows = {name: split.num_rows for name, split in splits.items()}
    num_positives = {name: split.num_positives for name, split in splits.items()}
    return {
        "dataset": dataset.name,
        "fields": list(dataset.fields),
        "field_dims": encoded.field_dims,
        "num_features": encoded.num_features,
        "num_rows": {**num_rows, "total": sum(num_rows.values())},
        "num_positives": {**num_positives, "total": sum(num_positives.values())},
        "sparsity": len(dataset.fields) / encoded.num_features,
    }


def card_of(
    dataset: Dataset | OwnDataset, schema: dict[str, Any], params: Params, folder: Path, files: Sequence[Path]
) -> Card:
    """Make the card of the data that was written to `folder`."""
    split = "released" if dataset.format == "libfm" else params.prepare.split
    if isinstance(dataset, OwnDataset):
        split = dataset.split.by
    return Card(
        dataset=dataset.name,
        split=split,
        field_dims=dict(zip(schema["fields"], schema["field_dims"], strict=True)),
        num_rows=schema["num_rows"],
        num_positives=schema["num_positives"],
        known_pairs=known_pairs(dataset.pair, folder / "train.parquet", folder / "test.parquet"),
        raw_files=[described(file) for file in files],
    )


def known_pairs(fields: Sequence[str], train: Path, test: Path) -> KnownPairs:
    """Count the test rows with the same features of some fields as a training positive."""
    known = pl.scan_parquet(train).filter(pl.col("label") == 1).select(fields).unique()
    rows = pl.scan_parquet(test).select("label", *fields)
    counts = [table.group_by("label").len().collect() for table in (rows.join(known, on=fields, how="semi"), rows)]
    found, all_rows = (dict(table.iter_rows()) for table in counts)
    positives, negatives = (Known(known=found.get(label, 0), rows=all_rows[label]) for label in (1, -1))
    return KnownPairs(fields=list(fields), positives=positives, negatives=negatives)


def write_parquet(path: Path, table: pl.LazyFrame) -> str:
    """Write a parquet file by row groups, and return its SHA-256."""
    with written_whole(path) as partial:
        try:
            table.sink_parquet(
                partial, compression="zstd", compression_level=3, row_group_size=ROW_GROUP_SIZE, engine="streaming"
            )
        except pl.exceptions.ComputeError as error:  # polars raises this on a full disk
            if not (code := re.search(r"os error (\d+)", str(error))):
                raise
            raise OSError(int(code[1]), os.strerror(int(code[1]))) from error
    return file_digest(path)


def values_digest(file: Path) -> str:
    """Compute the SHA-256 of a split's labels, features and values. It does not depend on the file's encoding."""
    digests = [hashlib.sha256() for _ in range(3)]
    rows = pl.scan_parquet(file)
    num_rows = rows.select(pl.len()).collect().item()
    for start in range(0, num_rows, ROW_GROUP_SIZE):
        table = rows.slice(start, ROW_GROUP_SIZE).collect()
        for digest, dtype in zip(digests, (pl.Int8, pl.Int32, pl.Float32), strict=True):
            part = table.select(pl.col(dtype))  # bytes as on little-endian machines
            digest.update(part.to_numpy(order="c").tobytes() if part.width else b"")
    return hashlib.sha256(b"".join(digest.digest() for digest in digests)).hexdigest()
