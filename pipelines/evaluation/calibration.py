"""Correct probabilities: by a map fitted on validation rows, and for another share of positives."""

from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from pipelines.project.metric import equal_bins
from pipelines.project.records import Record

Method = Literal["platt", "isotonic"]
NUM_GROUPS = 200  # of rows, whose means an isotonic map passes by
NUM_FOLDS = 5


class Calibration(Record):
    """Hold a map from logits to probabilities.

    platt: σ(slope · logit + intercept). isotonic: linear between points that ascend, constant beyond them.
    """

    method: Method
    rate: float = Field(gt=0, lt=1)  # the share of positives among the rows that it was fitted on
    slope: float = Field(default=1.0, allow_inf_nan=False)
    intercept: float = Field(default=0.0, allow_inf_nan=False)
    logits: list[float] = Field(default=[])
    points: list[float] = Field(default=[])  # the probability at each of the logits

    @model_validator(mode="after")
    def ascend(self) -> "Calibration":
        if self.method == "isotonic" and not (
            len(self.logits) == len(self.points) > 1
            and np.isfinite(self.logits + self.points).all()
            and (np.diff(np.array(self.logits, np.float32)) > 0).all()
            and (np.diff(self.points) >= 0).all()
            and 0 <= self.points[0] <= self.points[-1] <= 1
        ):
            raise ValueError("the points of an isotonic map must be two or more, ascending, with probabilities")
        return self

    def probabilities(self, logits: Tensor) -> Tensor:
        """Turn logits into probabilities of the label +1. Shape: `[rows]` → `[rows]`."""
        if self.method == "platt":
            return torch.sigmoid(self.slope * logits + self.intercept)
        x, p = (torch.tensor(each, dtype=logits.dtype, device=logits.device) for each in (self.logits, self.points))
        right = (logits[:, None] >= x).sum(1).clamp(1, len(x) - 1)
        left = right - 1
        share = ((logits - x[left]) / (x[right] - x[left])).clamp(0, 1)
        return p[left] + share * (p[right] - p[left])


def fit_calibration(logits: np.ndarray, labels: np.ndarray, method: Method) -> Calibration:
    """Fit a map from logits to probabilities on labels ±1, float64 `[rows]` each.

    Both methods take (n₊ + 1) / (n₊ + 2) and 1 / (n₋ + 2) for the labels, with the numbers n of rows of each class
    (Platt 1999, *Probabilistic Outputs for Support Vector Machines*), so that no row is certain. Isotonic regression is
    that of the means of groups with equally many rows, and its map passes the middle of each level (Oron and Flournoy
    2017, *Centered Isotonic Regression*), so that it is continuous and near logits have near probabilities. Raises
    ValueError for rows of one class.
    """
    positive = labels > 0
    num_positives, num_negatives = int(positive.sum()), int((~positive).sum())
    if not num_positives or not num_negatives:
        raise ValueError("a calibration needs rows of both classes")
    target = np.where(positive, (num_positives + 1) / (num_positives + 2), 1 / (num_negatives + 2))
    rate = num_positives / len(labels)
    if method == "platt":
        slope, intercept = fit_platt(logits, target)
        return Calibration(method=method, rate=rate, slope=slope, intercept=intercept)
    x, p = fit_isotonic(logits, target)
    return Calibration(method=method, rate=rate, logits=x.tolist(), points=p.tolist())


def fit_platt(logits: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Fit slope and intercept by logistic regression."""
    from scipy.optimize import minimize

    center, spread = logits.mean(), logits.std() or 1.0
    x = (logits - center) / spread

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        z = weights[0] * x + weights[1]
        wrong = 1 / (1 + np.exp(-z)) - target
        return float(np.mean(np.logaddexp(0, z) - target * z)), np.array([np.mean(wrong * x), np.mean(wrong)])

    with np.errstate(over="ignore"):
        slope, intercept = minimize(loss, np.zeros(2), jac=True, method="BFGS").x
    return float(slope / spread), float(intercept - slope * center / spread)


def fit_isotonic(logits: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit the points of a map that never falls: the mean logit of each level, and its probability."""
    from scipy.optimize import isotonic_regression

    _, group = np.unique(equal_bins(logits, NUM_GROUPS), return_inverse=True)
    size = np.bincount(group)
    means = [np.bincount(group, each) / size for each in (logits, target)]
    found = isotonic_regression(means[1], weights=size)
    level = np.repeat(np.arange(len(found.blocks) - 1), np.diff(found.blocks))
    x = np.bincount(level, size * means[0]) / np.bincount(level, size)
    x, first = np.unique(np.float32(x), return_index=True)
    p = found.x[found.blocks[:-1]][first]
    if len(x) == 1:  # one level
        return np.array([x[0], x[0] + 1 + abs(x[0])]), np.repeat(p, 2)
    return x, p


def calibrate_by_folds(logits: np.ndarray, labels: np.ndarray, method: Method, seed: int) -> np.ndarray:
    """Compute the probability of each row by a map that was fitted on other rows."""
    fold = np.random.default_rng(seed).permutation(len(labels)) % NUM_FOLDS
    result = np.empty(len(labels))
    for number in range(NUM_FOLDS):
        own = fold == number
        calibration = fit_calibration(logits[~own], labels[~own], method)
        result[own] = calibration.probabilities(torch.from_numpy(logits[own])).numpy()
    return result


def with_prior(probabilities: Tensor, rate: float, prior: float) -> Tensor:
    """Correct probabilities of rows with a share `rate` of positives for a share `prior`.

    The log-odds change by log prior / (1 − prior) − log rate / (1 − rate).
    """
    positive = probabilities * (prior / rate)
    return positive / (positive + (1 - probabilities) * ((1 - prior) / (1 - rate)))
