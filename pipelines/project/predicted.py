"""Hold predicted rows, and compute metrics as means over them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

Counts = np.ndarray  # how often each row, or each unit, counts


@dataclass(frozen=True)
class Predicted:
    """Hold the predictions and labels of some rows, as float64 arrays `[rows]`.

    `scores` are logits, `predicted` expectations of the label, in [−1, 1], and `labels` ±1. `groups` are numbers of
    groups, such as users, or None.
    """

    scores: np.ndarray
    predicted: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None = None

    @cached_property
    def positive(self) -> np.ndarray:
        return self.labels > 0

    @cached_property
    def place(self) -> np.ndarray:
        """Return the place of each row's score among the distinct scores, from the lowest."""
        return places(self.scores)

    def by_place(self, counts: Counts | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Count the positives and the negatives of each distinct score."""
        num_places = int(self.place.max()) + 1
        weights = np.ones(len(self.labels)) if counts is None else counts
        all_rows = np.bincount(self.place, weights, num_places)
        positives = np.bincount(self.place, weights * self.positive, num_places)
        return positives, all_rows - positives


@dataclass(frozen=True)
class Means:
    """Express a metric by means over units, which are rows or groups of rows.

    A unit adds weight · value to the sum of its column, and its weight to the column's size. `combine` computes the
    metric from the sums and sizes of all columns.
    """

    values: np.ndarray
    combine: Callable[[np.ndarray, np.ndarray], float]
    weights: np.ndarray | float = 1.0
    column: np.ndarray | None = None

    def value(self) -> float:
        return self.of_drawn()(np.ones(len(self.values)))

    def of_drawn(self, block: np.ndarray | None = None, num_blocks: int = 0) -> Callable[[Counts], float]:
        """Make a function that computes the metric from how often each unit or block counts."""
        weights = np.broadcast_to(self.weights, len(self.values))
        parts, column = (self.values * weights, weights), self.column
        if block is None and column is None:
            return lambda counts: self.combine(*(np.array([counts @ part]) for part in parts))
        column = np.zeros(len(self.values), dtype=np.int64) if column is None else column
        num_columns = int(column.max()) + 1
        if block is None:
            return lambda counts: self.combine(*(np.bincount(column, counts * part, num_columns) for part in parts))
        cell, num_cells = block * num_columns + column, num_blocks * num_columns
        sums, sizes = (np.bincount(cell, part, num_cells).reshape(num_blocks, num_columns) for part in parts)
        return lambda counts: self.combine(counts @ sums, counts @ sizes)


def places(values: np.ndarray) -> np.ndarray:
    """Return each value's place among the distinct values, from the lowest.

    Raises FloatingPointError for a value that is not a number.
    """
    order = np.argsort(values)
    ordered = values[order]
    if np.isnan(ordered[-1:]).any():
        raise FloatingPointError("a score is not a number: it has no rank")
    found = np.empty(len(values), dtype=np.int64)
    found[order] = np.cumsum(np.concatenate([[False], ordered[1:] != ordered[:-1]]))
    return found


def mean(sums: np.ndarray, sizes: np.ndarray) -> float:
    """Compute the mean of a single column."""
    return float(sums[0] / sizes[0])
