"""Compute the metrics of predictions against labels ±1."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipelines.project.metric import METRICS

MOST_ROWS, NUM_GROUPS = 1 << 19, 20_000  # from how many rows on, groups of rows are resampled instead
LEAST_PROBABILITY = 1e-6  # keeps the logloss of a clipped prediction finite


class Metrics(NamedTuple):
    """Hold RMSE, AUC and logloss (in nats) of one split."""

    rmse: float
    auc: float
    logloss: float

    def score(self, metric: str) -> float:
        """Turn a metric so that less is better."""
        return METRICS[metric].score(getattr(self, metric))

    def named(self, split: str) -> dict[str, float]:
        """Return a dict with keys such as `test_rmse`."""
        return {f"{split}_{name}": value for name, value in self._asdict().items()}


def predictions(logits: Tensor, loss: str) -> Tensor:
    """Turn logits into predictions of the label, in [−1, 1].

    A model trained on squared error predicts the label itself, and is clipped as in the paper's code; one trained
    on cross-entropy predicts P(+1) = σ(logit), so the label's expectation is 2σ(logit) − 1.
    """
    return logits.clamp(-1, 1) if loss == "squared_error" else 2 * torch.sigmoid(logits) - 1


def compute_metrics(logits: Tensor, labels: Tensor, loss: str) -> Metrics:
    """Compute all metrics of logits `[rows]` against labels `[rows]`, in float64.

    The logloss takes (prediction + 1) / 2 as the probability of +1, kept 10⁻⁶ away from 0 and 1.
    """
    logits, labels = logits.double().cpu(), labels.double().cpu()
    predicted = predictions(logits, loss)
    return Metrics(
        rmse=(predicted - labels).square().mean().sqrt().item(),
        auc=auc(logits, labels),
        logloss=surprises(predicted, labels).mean().item(),
    )


def surprises(predicted: Tensor, labels: Tensor) -> Tensor:
    """Compute each row's logloss, in nats."""
    likelihood = ((1 + labels * predicted) / 2).clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return -likelihood.log()


def auc(scores: Tensor, labels: Tensor) -> float:
    """Compute the chance that a positive scores above a negative; ties count half.

    This is the Mann–Whitney statistic. Raises ValueError when one class is missing, and FloatingPointError for a score
    that is not a number.
    """
    if scores.isnan().any():
        raise FloatingPointError("a score is not a number: it has no rank")
    positive = labels > 0
    num_positives, num_negatives = int(positive.sum()), int((~positive).sum())
    if not num_positives or not num_negatives:
        raise ValueError("AUC needs rows of both classes")
    _, inverse, counts = scores.unique(return_inverse=True, return_counts=True)
    ranks = counts.cumsum(0) - (counts - 1).double() / 2  # the mean of the ranks 1, 2, … that a run of ties takes
    surplus = ranks[inverse[positive]].sum() - num_positives * (num_positives + 1) / 2
    return (surplus / (num_positives * num_negatives)).item()


def on_resamples(metric: str, logits: Tensor, labels: Tensor, loss: str, seed: int, num_resamples: int) -> list[float]:
    """Compute a metric on resamples of the rows, drawn with replacement.

    A resample has as many rows as the data. The resamples depend only on the seed and the number of rows. More than
    `MOST_ROWS` are first dealt into groups at random, and groups are drawn instead of rows.
    """
    logits, labels = logits.double().cpu(), labels.double().cpu()
    rng, num_rows = np.random.default_rng(seed), len(labels)
    of_rows = row_figures(metric, predictions(logits, loss), labels)
    num_drawn = num_rows
    if num_rows > MOST_ROWS:
        group, num_drawn = rng.integers(NUM_GROUPS, size=num_rows), NUM_GROUPS
        compute = auc_by_groups(logits, labels, group) if of_rows is None else mean_by_groups(of_rows, group)
    else:
        compute = auc_by_rows(logits, labels) if of_rows is None else lambda drawn: float(of_rows[drawn].mean())
    figures = [compute(rng.integers(num_drawn, size=num_drawn)) for _ in range(num_resamples)]
    return [round(math.sqrt(figure) if metric == "rmse" else figure, 6) for figure in figures]


def row_figures(metric: str, predicted: Tensor, labels: Tensor) -> np.ndarray | None:
    """Compute each row's part of a metric; None for the AUC."""
    if metric == "auc":
        return None
    return ((predicted - labels).square() if metric == "rmse" else surprises(predicted, labels)).numpy()


def auc_by_rows(scores: Tensor, labels: Tensor) -> Callable[[np.ndarray], float]:
    """Make a function that computes the AUC on drawn rows without sorting again."""
    _, place = scores.unique(return_inverse=True)
    place, positive, num_places = place.numpy(), (labels > 0).numpy(), int(place.max()) + 1

    def compute(drawn: np.ndarray) -> float:
        positives, negatives = (
            np.bincount(place[drawn[positive[drawn] == sign]], minlength=num_places) for sign in (True, False)
        )
        below = np.cumsum(negatives) - negatives
        return float((positives * (below + negatives / 2)).sum() / (positives.sum() * negatives.sum()))

    return compute


def mean_by_groups(figures: np.ndarray, group: np.ndarray) -> Callable[[np.ndarray], float]:
    """Make a function that computes the mean of figures over drawn groups of rows."""
    sums, sizes = np.bincount(group, figures, NUM_GROUPS), np.bincount(group, minlength=NUM_GROUPS)
    return lambda drawn: float(sums[drawn].sum() / sizes[drawn].sum())


def auc_by_groups(scores: Tensor, labels: Tensor, group: np.ndarray) -> Callable[[np.ndarray], float]:
    """Make a function that computes the AUC on drawn groups of rows.

    A row's placement is the share of the other class that it is on the right side of; ties count half. The AUC is the
    mean placement of the positives, and of the negatives. To first order, which is exact enough for so many rows, a
    resample changes the AUC by what it changes both means.
    """
    _, place = scores.unique(return_inverse=True)
    place, positive, num_places = place.numpy(), (labels > 0).numpy(), int(place.max()) + 1
    means = []
    for own, sign in ((positive, 1), (~positive, -1)):
        others = np.bincount(place[~own], minlength=num_places)
        below = np.cumsum(others) - others / 2
        share = below[place[own]] / others.sum()
        means.append(mean_by_groups(share if sign > 0 else 1 - share, group[own]))
    whole = auc(scores, labels)
    return lambda drawn: means[0](drawn) + means[1](drawn) - whole
