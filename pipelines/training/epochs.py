"""Know the epochs of a training, the best of them, and when to stop."""

import math
from dataclasses import dataclass
from typing import Any

from pipelines.project.params import TrainingParams
from pipelines.training.metrics import Metrics


@dataclass(frozen=True)
class Epoch:
    """Record the time and the results of one epoch.

    `train_loss` is the mean over the rows, without the L2 penalty.
    """

    epoch: int
    seconds: float
    train_loss: float
    valid: Metrics

    def row(self) -> dict[str, Any]:
        """Return a flat record: epoch, seconds, train_loss, valid_rmse and other validation metrics."""
        figures = {"epoch": self.epoch, "seconds": self.seconds, "train_loss": self.train_loss}
        return figures | self.valid.named("valid")


def no_report(epoch: Epoch) -> None:
    """Ignore an epoch."""


class EarlyStopping:
    """Know the best epoch so far; 0 before the first."""

    def __init__(self, training: TrainingParams) -> None:
        self.training, self.best_score, self.best_epoch = training, math.inf, 0

    def is_best(self, epoch: Epoch) -> bool:
        """Note an epoch, and tell whether it is the best."""
        score = epoch.valid.score(self.training.metric)
        if score >= self.best_score:
            return False
        self.best_score, self.best_epoch = score, epoch.epoch
        return True

    def is_due(self, epoch: int) -> bool:
        """Tell whether the last `patience` epochs brought nothing better."""
        return epoch - self.best_epoch >= self.training.patience


def best_epoch(epochs: list[Epoch], metric: str) -> Epoch:
    """Find the epoch with the best validation metric; among equals, the first."""
    return min(epochs, key=lambda epoch: epoch.valid.score(metric))
