"""The training loop: one model, one setting, one seed; stops early and keeps the best epoch's weights."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.embeddings import settle
from pipelines.data.rows import Rows
from pipelines.project.params import TrainingParams
from pipelines.training.metrics import Metrics, compute_metrics
from pipelines.training.optimizers import forget_optimizer, make_optimizer
from pipelines.training.process import device_of

EVALUATION_ROWS = 1 << 14  # at a time: the more, the fewer distinct pairs of features for each row


@dataclass(frozen=True)
class Epoch:
    """What one epoch took and reached; `train_loss` is the mean over the rows, without the penalty."""

    epoch: int
    seconds: float
    train_loss: float
    valid: Metrics

    def row(self) -> dict[str, Any]:
        """As one flat record: epoch, seconds, train_loss, valid_rmse, valid_auc, valid_logloss."""
        figures = {"epoch": self.epoch, "seconds": self.seconds, "train_loss": self.train_loss}
        return figures | self.valid.named("valid")


def summed_loss(logits: Tensor, labels: Tensor, loss: str) -> Tensor:
    """½ Σ (ŷ − y)² over the batch, or the summed cross-entropy: the L2 penalty weighs against a sum over rows,
    as in the code released with the paper."""
    if loss == "squared_error":
        return 0.5 * nn.functional.mse_loss(logits, labels, reduction="sum")
    return nn.functional.softplus(-labels * logits).sum()


class Alone:
    """The steps of a run in which several workers would need each other, for a run that has one."""

    def batches(self, rows: Rows, batch_size: int) -> Sequence[Tensor]:
        """Draw the rows of each batch of an epoch."""
        return batches(torch.randperm(len(rows), device=rows.labels.device), batch_size)

    def after_backward(self, model: nn.Module) -> None:
        """Make gradients those of all workers."""

    def mean_loss(self, total: Tensor, rows: Rows) -> float:
        """Divide the loss summed over an epoch by the number of rows."""
        return total.item() / len(rows)

    def after_epoch(self, model: nn.Module) -> None:
        """Make what is no gradient that of all workers."""

    def evaluate(self, model: nn.Module, rows: Rows, training: TrainingParams) -> Metrics:
        """Compute the metrics on all validation rows."""
        return evaluate(model, rows, training.loss, training.kernels == "fast")


def train(
    model: nn.Module, train_rows: Rows, valid_rows: Rows, training: TrainingParams, workers: Alone | None = None
) -> Iterator[Epoch]:
    """Train epoch by epoch; when the iteration ends, the model has the weights of the best validation epoch.

    It ends after `max_epochs`, or after `patience` epochs without a better validation metric. Raises
    FloatingPointError when the loss is no longer finite.
    """
    rows, kernels = train_rows.to(device_of(model)), training.kernels == "fast"
    workers = workers or Alone()
    optimizer = make_optimizer(model, training)
    stopping = EarlyStopping(model, training)
    try:
        for epoch in range(1, training.max_epochs + 1):
            start = time.perf_counter()
            model.train()
            total = torch.zeros((), device=rows.labels.device)
            for batch in workers.batches(rows, training.batch_size):
                optimizer.zero_grad()
                logits = model(Batch(*rows.inputs(batch), kernels=kernels))
                loss = summed_loss(logits, rows.labels[batch], training.loss)
                loss.backward()
                workers.after_backward(model)
                optimizer.step()
                total += loss.detach()
            train_loss = workers.mean_loss(total, rows)
            settle(model)
            workers.after_epoch(model)
            seconds = time.perf_counter() - start
            valid = workers.evaluate(model, valid_rows, training)
            if not math.isfinite(train_loss + valid.rmse):
                raise FloatingPointError(f"the loss is not finite in epoch {epoch}: lower training.learning_rate")
            stopping.note(epoch, valid)
            yield Epoch(epoch, seconds, train_loss, valid)
            if stopping.is_due(epoch):
                break
    finally:
        forget_optimizer(model)
        model.load_state_dict(stopping.best_weights)


class EarlyStopping:
    """Keeps the weights of the epoch with the best validation metric so far: those at the start before there is one."""

    def __init__(self, model: nn.Module, training: TrainingParams) -> None:
        self.model, self.training = model, training
        self.best_score, self.best_epoch = math.inf, 0
        self.best_weights = {key: value.clone() for key, value in model.state_dict().items()}

    def note(self, epoch: int, valid: Metrics) -> None:
        """Take the weights as they are now if the epoch that led to them is the best."""
        score = valid.score(self.training.metric)
        if score < self.best_score:
            self.best_score, self.best_epoch = score, epoch
            for key, value in self.model.state_dict().items():
                self.best_weights[key].copy_(value)  # in place: two copies need not be held at a time

    def is_due(self, epoch: int) -> bool:
        """Whether no epoch was better for `patience` epochs."""
        return epoch - self.best_epoch >= self.training.patience


def batches(order: Tensor, batch_size: int) -> Sequence[Tensor]:
    """Batches of `batch_size`, the last one what is left; a single row joins the batch before, as batch norm needs."""
    sizes = [batch_size] * (len(order) // batch_size)
    left = len(order) - sum(sizes)
    if left == 1 and sizes:
        sizes[-1] += 1
    elif left:
        sizes.append(left)
    return order.split(sizes)


def best(epochs: list[Epoch], metric: str) -> Epoch:
    """The epoch with the best validation metric, the earliest of equals."""
    return min(epochs, key=lambda epoch: epoch.valid.score(metric))


@torch.no_grad()
def predict(model: nn.Module, rows: Rows, kernels: bool = True) -> Tensor:
    """Compute logits `[rows]`, and give them on the CPU."""
    model.eval()
    rows = rows.to(device_of(model))
    chunks = (slice(start, start + EVALUATION_ROWS) for start in range(0, len(rows), EVALUATION_ROWS))
    return torch.cat([model(Batch(*rows.inputs(chunk), kernels=kernels)) for chunk in chunks]).cpu()


def evaluate(model: nn.Module, rows: Rows, loss: str, kernels: bool = True) -> Metrics:
    """Compute the metrics of a model on a split."""
    return compute_metrics(predict(model, rows, kernels), rows.labels, loss)
