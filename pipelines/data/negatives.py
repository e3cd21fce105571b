"""Draw negatives for the lines of a log."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from pipelines.data.catalog import Dataset
from pipelines.data.encoding import Encoded
from pipelines.project.cli import note

MAX_ROUNDS = 10  # of redrawing rejected values, before the rest is drawn from lists of free values
LOG = (0.5, "are left out")  # of a log's lines that lack negatives: the share tolerated, and what becomes of them
PIECE = 1 << 20  # draws checked together: limits memory, does not change the result


class Drawing(NamedTuple):
    """Say which field's feature negatives replace, and what is done where too few are left.

    `tolerated` is the share of lines that may lack negatives; `lacking` says what becomes of these.
    """

    name: str  # of the data set
    fields: Sequence[str]
    replace: str
    given: Sequence[str]
    tolerated: float
    lacking: str


def draw_negatives(
    encoded: Encoded, dataset: Dataset | Drawing, num_negatives: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw feature ids of the field `dataset.replace`, int32 [lines, num_negatives].

    A negative is a copy of its log line with another feature of this field. The feature is uniform over the features
    that never occur in the log with the line's features of the fields `dataset.given`. No negative occurs twice. The
    released Frappe and MovieLens files were made in this way, with two negatives per line.

    A line with too few such features gets −1, and a note says so. Raises ValueError that names the given features if
    this holds for more than half of the lines, or another share that is tolerated.
    """
    column = dataset.fields.index(dataset.replace)
    first, size = sum(encoded.field_dims[:column]), encoded.field_dims[column]
    given_columns = [dataset.fields.index(field) for field in dataset.given]
    context_columns = [other for other in range(len(dataset.fields)) if other != column]
    given = group_rows(encoded.ids[:, given_columns])
    context = given if given_columns == context_columns else group_rows(encoded.ids[:, context_columns])
    known = sorted_distinct(given * size + encoded.ids[:, column] - first)
    enough = enough_left(encoded, dataset, given, context, known, num_negatives)
    if not enough.any():
        return np.full((len(encoded.ids), num_negatives), -1, dtype=np.int32)
    lines = slice(None) if enough.all() else enough
    values = draw_values(given[lines], context[lines], num_negatives, known, size, rng)
    drawn = (values + np.int32(first)).reshape(-1, num_negatives)
    if enough.all():
        return drawn
    negatives = np.full((len(encoded.ids), num_negatives), -1, dtype=np.int32)
    negatives[enough] = drawn
    return negatives


def group_rows(ids: np.ndarray) -> np.ndarray:
    """Assign a number from 0 to each distinct row of `ids` [rows, fields]."""
    groups = np.zeros(len(ids), dtype=np.int64)
    for column in ids.T:
        packed = groups * (int(column.max()) + 1) + column
        groups = pl.Series(packed).rank("dense").to_numpy().astype(np.int64) - 1
    return groups


def enough_left(
    encoded: Encoded,
    dataset: Dataset | Drawing,
    given: np.ndarray,
    context: np.ndarray,
    known: np.ndarray,
    num_negatives: int,
) -> np.ndarray:
    """Tell of each line whether enough distinct negatives are left, bool [lines].

    Lines that differ only in the replaced field share them. Raises ValueError if there are too few for more than half
    of the lines.
    """
    size = encoded.field_dims[dataset.fields.index(dataset.replace)]
    num_known = np.bincount(known // size)[given]
    num_needed = np.bincount(context)[context] * num_negatives
    short = num_needed > size - num_known
    if not short.any():
        return ~short
    row = short.argmax()
    ids = [int(encoded.ids[row, dataset.fields.index(field)]) for field in dataset.given]
    values = encoded.vocabulary["raw_value"].gather(ids)
    why = (
        f"no {dataset.replace} left for a negative with "
        f"{', '.join(f'{field} {value!r}' for field, value in zip(dataset.given, values, strict=True))}: "
        f"{num_known[row]} of all {size} occur with it in the log, and {num_needed[row]} more are needed"
    )
    tolerated, lacking = (dataset.tolerated, dataset.lacking) if isinstance(dataset, Drawing) else LOG
    if short.sum() > tolerated * len(short):
        raise ValueError(f"data set {dataset.name!r}: {why}")
    note(f"data set {dataset.name!r}: {short.sum():,} of {len(short):,} lines {lacking}, the first for this: {why}")
    return ~short


def draw_values(
    given: np.ndarray, context: np.ndarray, num_draws: int, known: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw `num_draws` values from 0 to size−1 for each line, uniform over the free values.

    The result has one line's values after the other's. A value is taken if `known` has it for the line's group in
    `given`, or if it was already drawn for the line's group in `context`. `known` has sorted keys group·size + value.
    Rejected values are drawn again. After MAX_ROUNDS the rest is drawn from lists of free values, which must suffice.
    """
    values = np.empty(len(given) * num_draws, dtype=np.int32)
    drawn = np.empty(0, dtype=np.int64)
    left = np.arange(len(values))
    for _ in range(MAX_ROUNDS):
        values[left] = rng.integers(size, size=len(left), dtype=np.int32)
        rejected = []
        for start in range(0, len(left), PIECE):
            draws = left[start : start + PIECE]
            lines = draws // num_draws
            keys = context[lines] * size + values[draws]
            free = pl.Series(keys).is_first_distinct().to_numpy()
            free = free & ~contains(known, given[lines] * size + values[draws]) & ~contains(drawn, keys)
            new = np.sort(keys[free])
            drawn = np.insert(drawn, np.searchsorted(drawn, new), new)
            rejected.append(draws[~free])
        left = np.concatenate(rejected)
        if not len(left):
            return values
    left = left[np.argsort(context[left // num_draws], kind="stable")]
    for draws in np.split(left, np.flatnonzero(np.diff(context[left // num_draws])) + 1):
        line = draws[0] // num_draws
        free = np.ones(size, dtype=bool)
        free[values_of(known, given[line], size)] = False
        free[values_of(drawn, context[line], size)] = False
        values[draws] = rng.choice(np.flatnonzero(free), size=len(draws), replace=False)
    return values


def sorted_distinct(keys: np.ndarray) -> np.ndarray:
    """Return the distinct keys, sorted. The hash table of `np.unique` needs 30 s for millions of packed keys."""
    ordered = np.sort(keys)
    return ordered[np.diff(ordered, prepend=-1) > 0]


def contains(ordered: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Test for each key whether the sorted array `ordered` contains it."""
    order = np.argsort(keys)  # sorted keys search memory in order
    keys = keys[order]
    position = np.searchsorted(ordered, keys)
    inside = position < len(ordered)
    found = np.zeros(len(keys), dtype=bool)
    found[order[inside]] = ordered[position[inside]] == keys[inside]
    return found


def values_of(keys: np.ndarray, group: np.ndarray, size: int) -> np.ndarray:
    """Return the values of `group` in the sorted `keys`, which are group·size + value."""
    start, stop = np.searchsorted(keys, [group * size, (group + 1) * size])
    return keys[start:stop] - group * size
