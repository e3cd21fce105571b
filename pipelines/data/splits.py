"""Make the splits of a data set: those of released files, of a log with negatives, or of a user's table."""

from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from pipelines.data.catalog import Dataset
from pipelines.data.columns import column_of
from pipelines.data.encoding import Encoded, encode
from pipelines.data.fitting import (
    columns_of,
    encode_own,
    far_from_one,
    first_of_repeated,
    hash_rows,
    labels_of,
    split_of,
    weights_of,
)
from pipelines.data.libfm import by_field, read_libfm
from pipelines.data.logs import read_log
from pipelines.data.negatives import Drawing, draw_negatives, group_rows
from pipelines.data.own import WEIGHT, Negatives, OwnDataset
from pipelines.data.splitting import split_groups, split_rows
from pipelines.data.tables import Stored, stored_table
from pipelines.project.cli import note, one_of
from pipelines.project.params import Params

REPEATED = {"drop": "they are left out", "weight": "its weight counts them"}

Splits = dict[str, "Split"]  # train, valid, test


class Split(NamedTuple):
    """Hold a split's lazy table of label and fields. Writing it computes some rows at a time."""

    num_rows: int
    num_positives: int
    table: pl.LazyFrame


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
    splits = [whole(table[end - len(part.labels) : end]) for part, end in zip(parts, ends, strict=True)]
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

    def make(row: np.ndarray) -> pl.DataFrame:
        """Make rows from row numbers. The lines of the log come first, then the negatives of each line in turn."""
        positive = row < num_lines
        line, draw = np.divmod(row - num_lines, shares.num_negatives)
        made = ids[np.where(positive, row, line)]
        made[~positive, replaced] = negatives[line[~positive], draw[~positive]]
        return to_table(dataset, np.where(positive, 1, -1).astype(np.int8), made)

    rng = np.random.default_rng(seeds["split"])
    if shares.split == "new_pairs":
        pairs = group_rows(pairs_of_log(ids, dataset, negatives))
        rows = split_groups(pairs, shares.train, shares.valid, rng)
    elif shares.split == "lines":
        line = np.repeat(np.arange(num_lines), shares.num_negatives)
        lines = split_rows(num_lines, shares.train, shares.valid, rng)
        rows = {name: with_negatives(at, line, num_lines + len(line)) for name, at in lines.items()}
    else:
        rows = split_rows(num_lines + negatives.size, shares.train, shares.valid, rng)
    note_repeats(dataset, ids, {name: part[part < num_lines] for name, part in rows.items()})
    return encoded, {name: by_row(part, part < num_lines, make) for name, part in rows.items()}


def pairs_of_log(ids: np.ndarray, dataset: Dataset, negatives: np.ndarray) -> np.ndarray:
    """Return the ids of the pair's fields: of the log's lines, then of each line's negatives.

    `ids` is [lines, fields], `negatives` [lines, negatives of each]. Returns [lines + negatives, fields of the pair].
    """
    given = ids[:, [dataset.fields.index(field) for field in dataset.given]]
    replaced = ids[:, dataset.fields.index(dataset.replace)]
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


def splits_of_table(
    dataset: OwnDataset, params: Params, seeds: dict[str, int], folder: Path, begin: Callable[[str], object]
) -> tuple[Encoded, Splits]:
    """Split a user's own table, and encode it by its training rows. Text is kept in `folder` meanwhile."""
    rng = np.random.default_rng(seeds["split"])
    with stored_table(dataset, folder) as table:
        labels = np.ones(table.height, np.int8) if dataset.negatives else labels_of(table, dataset)
        weights = weights_of(table, dataset)
        if dataset.repeated != "keep":
            begin("finds repeated rows")
            first, number = first_of_repeated(table, dataset, labels)
            if dataset.repeated == "weight":
                weights = np.bincount(number, weights)
            elif weights is not None:
                weights = weights[first]
            num_repeated, what = len(labels) - len(first), REPEATED[dataset.repeated]
            note(f"data set {dataset.name!r}: {num_repeated:,} rows repeat another: {what}")
            labels = labels[first]
            table.keep(first)
        rows = split_of(table, dataset, params.prepare.train, params.prepare.valid, rng)
        if dataset.negatives:
            begin("draws negatives")
            positive = add_negatives(table, dataset, dataset.negatives, np.random.default_rng(seeds["negatives"]))
            labels = np.repeat(np.array([1, -1], np.int8), [len(labels), len(positive)])
            weights = None if weights is None else np.concatenate([weights, weights[positive]])
            rows = {part: with_negatives(at, positive, len(labels)) for part, at in rows.items()}
        encoded, values = encode_own(table, dataset, rows["train"], begin)
        groups = groups_of(table, dataset)
    for field in far_from_one(values, dataset):
        note(f"data set {dataset.name!r}: field {field} has large raw numbers; scale: standard or log trains better")
    if weights is not None:
        weights = with_mean_one(weights, rows["train"], dataset)

    def make(at: np.ndarray, weighted: bool) -> pl.DataFrame:
        made = to_table(dataset, labels[at], encoded.ids[at], None if values is None else values[at])
        made = made.with_columns(each[at] for each in groups)
        return made.with_columns(pl.Series(WEIGHT, weights[at])) if weights is not None and weighted else made

    return encoded, {
        part: by_row(at, labels[at] == 1, partial(make, weighted=part == "train")) for part, at in rows.items()
    }


def add_negatives(table: Stored, dataset: OwnDataset, how: Negatives, rng: np.random.Generator) -> np.ndarray:
    """Add negatives below the rows of a table. Returns the row number of each one's positive."""
    fields = [*how.given, how.replace, "context"]
    replaced = dataset.source(how.replace)
    for field in fields[:-1]:
        column_of(f"column of field {field!r} of {dataset.name!r}", dataset.source(field), columns_of(table))
    if count := table[replaced].null_count():
        raise ValueError(
            f"data set {dataset.name!r}: negatives replace {how.replace}, which is missing in {count:,} rows"
        )
    others = [
        field for field in dataset.fields if dataset.source(field) in table.log and dataset.source(field) != replaced
    ]
    context = hash_rows(table, dataset, others, np.zeros(table.height))
    columns = [table[dataset.source(field)].fill_null("<missing>").alias(field) for field in fields[:-1]]
    encoded = encode([pl.DataFrame([*columns, context.cast(pl.String).alias("context")])], fields)
    tolerated = 0.0 if how.if_too_few == "error" else 1.0
    drawing = Drawing(dataset.name, fields, how.replace, how.given, tolerated, "have no negatives")
    drawn = draw_negatives(encoded, drawing, how.count, rng).ravel()
    positive = np.repeat(np.arange(table.height), how.count)[drawn >= 0]
    texts = encoded.vocabulary["raw_value"][drawn[drawn >= 0]]
    texts = pl.concat([table[replaced].alias(replaced), texts.alias(replaced)])
    table.keep(np.concatenate([np.arange(table.height), positive]))
    table.replace(replaced, texts)
    return positive


def with_negatives(rows: np.ndarray, positive: np.ndarray, num_rows: int) -> np.ndarray:
    """Add to the rows of a part the negatives of its positives.

    `num_rows` counts all rows; the negatives come last.
    """
    inside = np.zeros(num_rows, dtype=bool)
    inside[rows] = True
    return np.concatenate([rows, num_rows - len(positive) + np.flatnonzero(inside[positive])])


def with_mean_one(weights: np.ndarray, train: np.ndarray, dataset: OwnDataset) -> np.ndarray:
    """Scale weights (float32) so that their mean over the training rows is 1."""
    mean = weights[train].mean() if len(train) else 1.0
    if not mean:
        raise ValueError(f"data set {dataset.name!r}: weight: all training rows have weight 0")
    return (weights / mean).astype(np.float32)


def by_row(rows: np.ndarray, positive: np.ndarray, make: Callable[[np.ndarray], pl.DataFrame]) -> Split:
    """Make a split of row numbers, whose table is made some rows at a time."""
    table = pl.LazyFrame({"row": rows}).map_batches(
        lambda some: make(some["row"].to_numpy()), streamable=True, schema=make(rows[:0]).schema
    )
    return Split(len(rows), int(positive.sum()), table)


def groups_of(table: Stored, dataset: OwnDataset) -> list[pl.Series]:
    """Make the column of group numbers, in which missing is 0; none without groups."""
    if not dataset.group:
        return []
    texts = table[one_of(f"column of the group of {dataset.name!r}", dataset.grouped_by, table.columns)]
    return [texts.rank("dense").fill_null(0).cast(pl.UInt32).alias(f"group:{dataset.group}")]


def whole(table: pl.DataFrame) -> Split:
    """Make a split of a table that is in memory."""
    return Split(table.height, int((table["label"] == 1).sum()), table.lazy())


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
