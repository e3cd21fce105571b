"""Train models that learn without gradients: in closed form, or by adding trees."""

import time
from typing import Any

from torch import nn

from models.registry import NO_LISTS
from pipelines.data.rows import Rows
from pipelines.project.params import TrainingParams
from pipelines.training.epochs import Epoch
from pipelines.training.loss import summed_loss
from pipelines.training.metrics import Metrics, after_epoch, compute_metrics
from pipelines.training.optimizers.make import refuse_untaken
from pipelines.training.predicting import evaluate, finite, predict
from pipelines.training.process import device_of


def fit(model: Any, rows: Rows, valid_rows: Rows, training: TrainingParams) -> Epoch:
    """Fit a closed-form model to all rows at once. Raises ValueError for fields that hold lists."""
    refuse_lists(model, rows)
    if rows.weights is not None:
        raise ValueError(f"{type(model).__module__}: a model in closed form can't be fitted to rows with weights")
    refuse_untaken(model, training)
    start = time.perf_counter()
    model.fit(rows.batch(slice(None)), rows.labels, training.loss)
    seconds = time.perf_counter() - start
    total = summed_loss(predict(model, rows), rows.labels.cpu(), training.loss)
    valid = evaluate(model, valid_rows, training.loss, names=after_epoch(training.metric))
    return Epoch(1, seconds, total.item() / len(rows), valid)


class Boosting:
    """Train a model that adds trees in each epoch."""

    def __init__(self, model: Any, rows: Rows, valid_rows: Rows, training: TrainingParams) -> None:
        refuse_lists(model, rows)
        refuse_untaken(model, training)
        self.model, self.valid_rows, self.training = model, valid_rows, training
        valid = valid_rows.to(device_of(model)).batch(slice(None))
        batch, weights = rows.batch(slice(None)), rows.weights
        self.steps = model.boost(batch, rows.labels, weights, valid, training.loss, training.learning_rate)

    def epoch(self) -> float | None:
        """Add trees, and return the mean loss; None if no tree can be added."""
        step = next(self.steps, None)
        if step is None:
            return None
        train_loss, self.logits = step
        return train_loss

    def evaluate(self) -> Metrics:
        """Compute the metrics on the validation rows."""
        names = after_epoch(self.training.metric)
        rows = self.valid_rows
        return compute_metrics(finite(self.logits), rows.labels, self.training.loss, names, rows.groups)

    def follow(self, epoch: Epoch, is_best: bool) -> None:
        """Ignore which epoch is the best: trees stay."""

    def keep(self, best_epoch: int) -> None:
        """Leave the model with the trees up to the best epoch."""
        self.steps.close()
        self.model.keep(best_epoch)


def refuse_lists(model: nn.Module, rows: Rows) -> None:
    """Raise ValueError for fields that hold lists, which only tables of weights know."""
    if rows.bags:
        raise ValueError(f"{type(model).__module__}: {NO_LISTS}")
