"""How predictions are judged. Labels are ±1."""

from typing import NamedTuple

import torch
from torch import Tensor

LEAST_PROBABILITY = 1e-6  # keeps the logloss of a clipped prediction finite


class Metrics(NamedTuple):
    """RMSE and logloss (in nats) are better when lower, AUC when higher."""

    rmse: float
    auc: float
    logloss: float

    def score(self, metric: str) -> float:
        """The metric with its sign turned where higher is better: always to be minimised."""
        value = getattr(self, metric)
        return -value if metric == "auc" else value

    def named(self, split: str) -> dict[str, float]:
        """`{"test_rmse": …, "test_auc": …, "test_logloss": …}`"""
        return {f"{split}_{name}": value for name, value in self._asdict().items()}


def predictions(logits: Tensor, loss: str) -> Tensor:
    """Predictions of the label, in [−1, 1].

    A model trained on squared error predicts the label itself, and is clipped as in the paper's code; one trained
    on cross-entropy predicts P(+1) = σ(logit), so the label's expectation is 2σ(logit) − 1.
    """
    return logits.clamp(-1, 1) if loss == "squared_error" else 2 * torch.sigmoid(logits) - 1


def compute_metrics(logits: Tensor, labels: Tensor, loss: str) -> Metrics:
    """Metrics of logits `[rows]` against labels ±1 `[rows]`, in float64.

    The logloss takes (prediction + 1) / 2 as the probability of +1, kept 10⁻⁶ away from 0 and 1.
    """
    logits, labels = logits.double().cpu(), labels.double().cpu()
    predicted = predictions(logits, loss)
    likelihood = ((1 + labels * predicted) / 2).clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return Metrics(
        rmse=(predicted - labels).square().mean().sqrt().item(),
        auc=auc(logits, labels),
        logloss=-likelihood.log().mean().item(),
    )


def auc(scores: Tensor, labels: Tensor) -> float:
    """The chance that a positive scores above a negative, ties counting half (Mann–Whitney).

    Raises ValueError when one class is missing.
    """
    positive = labels > 0
    num_positives, num_negatives = int(positive.sum()), int((~positive).sum())
    if not num_positives or not num_negatives:
        raise ValueError("AUC needs rows of both classes")
    _, inverse, counts = scores.unique(return_inverse=True, return_counts=True)
    ranks = counts.cumsum(0) - (counts - 1).double() / 2  # the mean of the ranks 1, 2, … that a run of ties takes
    surplus = ranks[inverse[positive]].sum() - num_positives * (num_positives + 1) / 2
    return (surplus / (num_positives * num_negatives)).item()
