"""Define the metrics. Each is one record in `METRICS`, and all else follows from the records."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
from pydantic import AfterValidator

LEAST_PROBABILITY = 1e-6  # keeps the logloss of a clipped prediction finite
NUM_BINS = 15  # of the calibration error

Counts = np.ndarray  # how often each row, or each unit, counts
ByPlaces = Callable[[np.ndarray, np.ndarray], float]  # of the positives and negatives of each distinct score


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


@dataclass(frozen=True)
class Metric:
    """Describe a metric that can decide rankings, searches and tests.

    `means` expresses it by means over rows, or of a metric `by_group` over groups. Where that holds only to first
    order, `by_places` computes it from the numbers of positives and negatives of each distinct score.
    """

    name: str
    title: str
    means: Callable[[Predicted], Means]
    by_places: ByPlaces | None = None
    higher_is_better: bool = False
    every_epoch: bool = False  # else only after the epochs that it decides about, and of the final runs
    by_group: bool = False
    decimals: int = 4
    explanation: str = ""  # under tables that show it

    @property
    def units(self) -> str:
        """Name what is drawn to see how far chance moves the metric."""
        return "groups of test rows" if self.by_group else "test rows"

    def score(self, value: float) -> float:
        """Convert a value to a score, or a score to its value. Lower scores are better."""
        return -value if self.higher_is_better else value

    def error(self, values: np.ndarray) -> np.ndarray:
        """Turn values into errors: of a metric whose best value is 1, the distance to it."""
        return 1 - values if self.higher_is_better else values

    def format(self, value: float, sign: str = "") -> str:
        """Write a value with the metric's decimals; sign + shows the sign of a difference."""
        return f"{value:{sign}.{self.decimals}f}"

    def value(self, rows: Predicted) -> float:
        """Compute the metric. Raises ValueError where it is not defined, as an AUC of one class is not."""
        if self.by_places is None:
            return self.means(rows).value()
        if rows.positive.all() or not rows.positive.any():
            raise ValueError(f"{self.title} needs rows of both classes")
        return self.by_places(*rows.by_place())


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


def rmse(rows: Predicted) -> Means:
    """Take the root of the mean squared error of the label ±1."""
    return Means((rows.predicted - rows.labels) ** 2, lambda sums, sizes: math.sqrt(mean(sums, sizes)))


def logloss(rows: Predicted) -> Means:
    """Average the logloss, in nats.

    The probability of +1 is (prediction + 1) / 2, kept 10⁻⁶ away from 0 and 1.
    """
    likelihood = np.clip((1 + rows.labels * rows.predicted) / 2, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return Means(-np.log(likelihood), mean)


def auc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Compute the chance that a positive scores above a negative; ties count half."""
    below = np.cumsum(negatives) - negatives / 2
    return float((positives * below).sum() / (positives.sum() * negatives.sum()))


def auc_to_first_order(rows: Predicted) -> Means:
    """Average the placements of the rows.

    A placement is the share of the other class that a row is on the right side of. The AUC is the mean placement of the
    positives, and of the negatives. To first order, drawing rows changes the AUC by what it changes both means.
    """
    positives, negatives = rows.by_place()
    above_negatives = (np.cumsum(negatives) - negatives / 2) / negatives.sum()
    below_positives = 1 - (np.cumsum(positives) - positives / 2) / positives.sum()
    placement = np.where(rows.positive, above_negatives[rows.place], below_positives[rows.place])
    whole = auc(positives, negatives)
    return Means(placement, lambda sums, sizes: float((sums / sizes).sum()) - whole, column=rows.positive.astype(int))


def average_precision(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Average the precision at the score of each positive, among rows that score no less."""
    positives, negatives = positives[::-1], negatives[::-1]
    found = np.cumsum(positives)
    seen = np.maximum(found + np.cumsum(negatives), 1)
    return float((positives * found / seen).sum() / found[-1])


def average_precision_to_first_order(rows: Predicted) -> Means:
    """Average the parts of rows: the average precision, and its derivative by the row's count."""
    positives, negatives = rows.by_place()
    found = np.cumsum(positives[::-1])[::-1]
    seen = found + np.cumsum(negatives[::-1])[::-1]
    precision, whole = found / seen, average_precision(positives, negatives)
    gain, loss = np.cumsum(positives / seen), np.cumsum(positives * precision / seen)  # of positives no higher
    derivative = rows.positive * (precision + gain - whole)[rows.place] - loss[rows.place]
    return Means(whole + derivative * (len(rows.labels) / found[0]), mean)


def equal_bins(values: np.ndarray, num_bins: int) -> np.ndarray:
    """Assign values to bins with equally many of them, from the lowest.

    Equal values are in one bin, that of the middle one. A bin may be empty.
    """
    place = places(values)
    size = np.bincount(place)
    of_place = (num_bins * (np.cumsum(size) - size / 2) / len(place)).astype(int)
    return of_place[place]


def ece(rows: Predicted) -> Means:
    """Average the distance of mean probability and share of positives over bins.

    Bins have equally many rows. They are those of all rows, also where rows are drawn.
    """
    return Means(
        (rows.predicted - rows.labels) / 2,
        lambda sums, sizes: float(np.abs(sums).sum() / sizes.sum()),
        column=equal_bins(rows.predicted, NUM_BINS),
    )


def group_auc(rows: Predicted) -> Means:
    """Average the AUC of each group that has both classes, weighted by its rows.

    This is the GAUC of Zhu et al. 2017, Optimized Cost per Click in Taobao Display Advertising. Raises ValueError
    without such a group.
    """
    if rows.groups is None:
        raise ValueError("group_auc needs the group of each row")
    order = np.lexsort((rows.scores, rows.groups))
    group, score, positive = rows.groups[order], rows.scores[order], rows.positive[order]
    new_group = np.concatenate([[True], group[1:] != group[:-1]])
    new_score = np.concatenate([[True], score[1:] != score[:-1]]) | new_group
    starts, of_place = np.flatnonzero(new_score), (np.cumsum(new_group) - 1)[new_score]
    positives, negatives = (np.add.reduceat(part.astype(np.int64), starts) for part in (positive, ~positive))
    below = np.cumsum(negatives) - negatives / 2
    wins, num_positives, num_negatives = (
        np.bincount(of_place, part) for part in (positives * below, positives, negatives)
    )
    wins -= num_positives * (np.cumsum(num_negatives) - num_negatives)  # over negatives of groups before
    mixed = (num_positives > 0) & (num_negatives > 0)
    if not mixed.any():
        raise ValueError("group_auc needs a group with rows of both classes")
    pairs = num_positives * num_negatives
    return Means(wins[mixed] / pairs[mixed], mean, weights=(num_positives + num_negatives)[mixed])


METRICS = {
    metric.name: metric
    for metric in (
        Metric("rmse", "RMSE", rmse, every_epoch=True),
        Metric("auc", "AUC", auc_to_first_order, auc, higher_is_better=True, every_epoch=True),
        Metric("logloss", "logloss", logloss, every_epoch=True),
        Metric(
            "pr_auc",
            "PR-AUC",
            average_precision_to_first_order,
            average_precision,
            higher_is_better=True,
            explanation="PR-AUC is the average precision.",
        ),
        Metric(
            "ece",
            "ECE",
            ece,
            decimals=5,
            explanation=f"ECE is the calibration error over {NUM_BINS} bins with equally many rows.",
        ),
        Metric(
            "group_auc",
            "group AUC",
            group_auc,
            higher_is_better=True,
            by_group=True,
            explanation="Group AUC is the mean AUC of the groups that have both classes, weighted by their rows.",
        ),
    )
}
EVERY_EPOCH = tuple(name for name, metric in METRICS.items() if metric.every_epoch)


def known(name: str) -> str:
    """Return the name of a metric. Raises ValueError that lists all names for another."""
    if name not in METRICS:
        raise ValueError(f"unknown metric {name!r}; choose one of: {', '.join(METRICS)}")
    return name


MetricName = Annotated[str, AfterValidator(known)]
