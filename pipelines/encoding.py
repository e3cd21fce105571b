"""One-hot encoding of a log, negatives for its lines, and the split into train, valid and test."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np
import polars as pl

from pipelines.catalog import Dataset

MAX_ROUNDS = 10  # of drawing again what was rejected, before the rest is drawn from lists of what is left


@dataclass(frozen=True)
class Encoded:
    """A log as feature ids.

    `ids` is int32 [rows, fields]; `vocabulary` has the columns field, feature_id, raw_value, sorted by
    feature_id; `field_dims` is the number of features of each field.
    """

    ids: np.ndarray
    vocabulary: pl.DataFrame
    field_dims: list[int]

    @property
    def num_features(self) -> int:
        return sum(self.field_dims)


def encode(log: pl.DataFrame, fields: Sequence[str]) -> Encoded:
    """Number the features from 0, field after field, within a field in order of first appearance in the log.

    So are the released Frappe files numbered. `log` has a text column for each field.
    """
    ids = np.empty((log.height, len(fields)), dtype=np.int32)
    vocabularies, field_dims = [], []
    for column, field in enumerate(fields):
        first = sum(field_dims)
        values = log[field].unique(maintain_order=True)
        ids[:, column] = log[field].cast(pl.Enum(values)).to_physical().to_numpy() + np.int64(first)
        feature_ids = pl.Series(np.arange(first, first + len(values), dtype=np.int32))
        vocabularies.append(pl.DataFrame({"field": [field], "feature_id": [feature_ids], "raw_value": [values]}))
        field_dims.append(len(values))
    return Encoded(ids, pl.concat(vocabularies).explode("feature_id", "raw_value"), field_dims)


def draw_negatives(encoded: Encoded, dataset: Dataset, num_negatives: int, rng: np.random.Generator) -> np.ndarray:
    """Negatives int32 [rows · num_negatives, fields]: those of the first log line, of the second, and so on.

    Each is its log line with another feature of the field `dataset.replace`: uniform over those of its
    features that never occur in the log together with the line's features of the fields `dataset.given`.
    No row occurs twice. So were the released Frappe and MovieLens files made, with two negatives a line.

    Raises ValueError, naming the given features, where too few are left to draw from.
    """
    column = dataset.fields.index(dataset.replace)
    first, size = sum(encoded.field_dims[:column]), encoded.field_dims[column]
    given = group_rows(encoded.ids[:, [dataset.fields.index(field) for field in dataset.given]])
    context = group_rows(np.delete(encoded.ids, column, axis=1))
    known = sorted_distinct(given * size + encoded.ids[:, column] - first)
    check_enough_left(encoded, dataset, given, context, known, num_negatives)
    negatives = np.repeat(encoded.ids, num_negatives, axis=0)
    each = np.repeat(np.arange(len(encoded.ids)), num_negatives)
    negatives[:, column] = first + draw_values(given[each], context[each], known, size, rng)
    return negatives


def group_rows(ids: np.ndarray) -> np.ndarray:
    """A number from 0 for each row of `ids` [rows, fields]: the same for equal rows, and only for these."""
    groups = np.zeros(len(ids), dtype=np.int64)
    for column in ids.T:
        packed = groups * (int(column.max()) + 1) + column
        groups = np.unique(packed, return_inverse=True)[1]
    return groups


def check_enough_left(
    encoded: Encoded,
    dataset: Dataset,
    given: np.ndarray,
    context: np.ndarray,
    known: np.ndarray,
    num_negatives: int,
) -> None:
    """Raise ValueError if some rows need more different negatives than there can be."""
    size = encoded.field_dims[dataset.fields.index(dataset.replace)]
    num_known = np.bincount(known // size)[given]
    num_needed = np.bincount(context)[context] * num_negatives
    if not (short := num_needed > size - num_known).any():
        return
    row = short.argmax()
    ids = [int(encoded.ids[row, dataset.fields.index(field)]) for field in dataset.given]
    values = encoded.vocabulary["raw_value"].gather(ids)
    raise ValueError(
        f"data set {dataset.name!r}: no {dataset.replace} left for a negative with "
        f"{', '.join(f'{field} {value!r}' for field, value in zip(dataset.given, values, strict=True))}: "
        f"{num_known[row]} of all {size} occur with it in the log, and {num_needed[row]} more are needed"
    )


def draw_values(
    given: np.ndarray, context: np.ndarray, known: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    """For each row a value from 0 to size−1, uniform over what is free.

    Taken are the values `known` with the row's group `given`, as sorted keys group·size + value, and those
    already drawn for its group `context`. What is rejected is drawn again; after MAX_ROUNDS the rest is drawn
    from lists of what is free, of which there must be enough.
    """
    values = np.empty(len(given), dtype=np.int64)
    drawn = np.empty(0, dtype=np.int64)
    left = np.arange(len(given))
    for _ in range(MAX_ROUNDS):
        values[left] = rng.integers(size, size=len(left))
        keys = context[left] * size + values[left]
        free = np.zeros(len(left), dtype=bool)
        free[np.unique(keys, return_index=True)[1]] = True
        free &= ~contains(known, given[left] * size + values[left]) & ~contains(drawn, keys)
        drawn = sorted_distinct(np.concatenate([drawn, keys[free]]))
        left = left[~free]
        if not len(left):
            return values
    left = left[np.argsort(context[left], kind="stable")]
    for rows in np.split(left, np.flatnonzero(np.diff(context[left])) + 1):
        free = np.ones(size, dtype=bool)
        free[values_of(known, given[rows[0]], size)] = False
        free[values_of(drawn, context[rows[0]], size)] = False
        values[rows] = rng.choice(np.flatnonzero(free), size=len(rows), replace=False)
    return values


def sorted_distinct(keys: np.ndarray) -> np.ndarray:
    """What `np.unique` gives, but sorted: its hash table takes half a minute for millions of packed keys."""
    ordered = np.sort(keys)
    return ordered[np.diff(ordered, prepend=-1) > 0]


def contains(ordered: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """For each of `keys` whether it is in `ordered`, which is sorted."""
    position = np.searchsorted(ordered, keys)
    found = np.zeros(len(keys), dtype=bool)
    inside = position < len(ordered)
    found[inside] = ordered[position[inside]] == keys[inside]
    return found


def values_of(keys: np.ndarray, group: np.ndarray, size: int) -> np.ndarray:
    """The values that the sorted `keys`, group·size + value, have with `group`."""
    start, stop = np.searchsorted(keys, [group * size, (group + 1) * size])
    return keys[start:stop] - group * size


def split_rows(num_rows: int, train: float, valid: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The row numbers of each split, from one permutation: ⌈train share⌉, ⌈valid share⌉ and the rest.

    A share is taken as the decimal that it is written as, so that 0.07 of 100 rows is 7 and not 8. Rounding up
    gives the sizes of the released Frappe split.
    """
    num_train, num_valid = (ceil(Fraction(str(share)) * num_rows) for share in (train, valid))
    parts = np.split(rng.permutation(num_rows), [num_train, num_train + num_valid])
    return dict(zip(("train", "valid", "test"), parts, strict=True))
