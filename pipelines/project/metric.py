"""Define the metrics. Each is one record in `METRICS`, and all else follows from the records."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import AfterValidator

from pipelines.project.predicted import Means, Predicted, mean, places

LEAST_PROBABILITY = 1e-6  # keeps the logloss of a clipped prediction finite
NUM_BINS = 15  # of the calibration error

ByPlaces = Callable[[np.ndarray, np.ndarray], float]  # of the positives and negatives of each distinct score


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
