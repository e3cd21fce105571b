"""Train one model with one setting and one seed, and keep the best epoch's weights."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.layers.checks import enough_rows
from models.layers.embeddings import settle
from models.registry import is_boosted, is_closed_form
from pipelines.data.rows import Rows
from pipelines.project.metric import EVERY_EPOCH
from pipelines.project.params import TrainingParams
from pipelines.training.metrics import Metrics, after_epoch, compute_metrics
from pipelines.training.optimizers import forget_gradients, forget_optimizer, make_optimizer, refuse_untaken
from pipelines.training.process import device_of
from pipelines.training.recipe import clip_gradient, make_schedule

EVALUATION_ROWS = 1 << 14  # at a time: the more, the fewer distinct pairs of features for each row


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


def summed_loss(logits: Tensor, labels: Tensor, loss: str, weights: Tensor | None = None) -> Tensor:
    """Sum the loss over the batch: ½ Σ (ŷ − y)², or the cross-entropy. Each row counts by its weight.

    The L2 penalty is weighed against a sum over rows, as in the code released with the paper. Where logits are `[batch,
    k]`, of k members, a row's loss is the mean of theirs.
    """
    if logits.dim() == 2:
        k = logits.shape[1]
        weights = None if weights is None else weights.repeat_interleave(k)
        return summed_loss(logits.flatten(), labels.repeat_interleave(k), loss, weights) / k
    if weights is not None:
        squared = loss == "squared_error"
        each = 0.5 * (logits - labels).square() if squared else nn.functional.softplus(-labels * logits)
        return (weights * each).sum()
    if loss == "squared_error":
        return 0.5 * nn.functional.mse_loss(logits, labels, reduction="sum")
    return nn.functional.softplus(-labels * logits).sum()


class Alone:
    """Do the steps that several workers would share, for a run with one worker."""

    def batches(self, rows: Rows, batch_size: int) -> Sequence[Tensor]:
        """Shuffle the rows into the batches of one epoch."""
        return batches(torch.randperm(len(rows), device=rows.labels.device), batch_size)

    def after_backward(self, model: nn.Module) -> None:
        """Sum the gradients of all workers."""

    def mean_loss(self, total: Tensor, rows: Rows) -> float:
        """Divide an epoch's summed loss by the number of rows."""
        return total.item() / len(rows)

    def after_epoch(self, model: nn.Module) -> None:
        """Average the statistics of batch norm over all workers."""

    def evaluate(self, model: nn.Module, rows: Rows, training: TrainingParams) -> Metrics:
        """Compute the metrics on all validation rows."""
        return evaluate(model, rows, training.loss, training.kernels == "fast", after_epoch(training.metric))


def no_report(epoch: Epoch) -> None:
    """Ignore an epoch."""


def train(
    model: nn.Module,
    train_rows: Rows,
    valid_rows: Rows,
    training: TrainingParams,
    report: Callable[[Epoch], object] = no_report,
    workers: Alone | None = None,
) -> list[Epoch]:
    """Train a model, and leave it with the weights of the best validation epoch.

    A closed-form model is fitted in one epoch. Calls `report` after each epoch. Ends after `max_epochs`, after
    `patience` epochs without a better validation metric, or when `report` returns True. Raises FloatingPointError when
    the loss or a prediction is not finite, and ValueError for a model that does not do what
    `models.registry.register_model` asks for.
    """
    enough_rows(model, len(train_rows), training.batch_size)
    rows = train_rows.to(device_of(model))
    if is_closed_form(model):
        epochs = [fit(model, rows, valid_rows, training)]
        report(epochs[0])
        return epochs
    course: Descent | Boosting = (Boosting if is_boosted(model) else Descent)(
        model, rows, valid_rows, training, workers
    )
    stopping, epochs = EarlyStopping(training), []
    while len(epochs) < training.max_epochs and not stopping.is_due(len(epochs)):
        start = time.perf_counter()
        train_loss = course.epoch()
        if train_loss is None:
            break
        seconds = time.perf_counter() - start
        epochs.append(Epoch(len(epochs) + 1, seconds, train_loss, course.evaluate()))
        course.follow(epochs[-1], stopping.is_best(epochs[-1]))
        if report(epochs[-1]) is True:
            break
    course.keep(stopping.best_epoch)
    return epochs


class Descent:
    """Train a model by gradients, an epoch at a time."""

    def __init__(
        self, model: nn.Module, rows: Rows, valid_rows: Rows, training: TrainingParams, workers: Alone | None
    ) -> None:
        self.model, self.rows, self.valid_rows, self.training = model, rows, valid_rows, training
        self.workers, self.num_epochs = workers or Alone(), 0
        self.optimizer = make_optimizer(model, training)
        self.schedule = make_schedule(self.optimizer, training)
        self.best_weights = {key: value.clone() for key, value in model.state_dict().items()}  # before an epoch: first

    def epoch(self) -> float:
        """Take a step for each batch, and return the mean loss. Raises FloatingPointError where it is not finite."""
        model, rows, training, workers = self.model, self.rows, self.training, self.workers
        kernels, members = training.kernels == "fast", getattr(model, "members", None)
        model.train()
        total = torch.zeros((), device=rows.labels.device)
        for number, batch in enumerate(workers.batches(rows, training.batch_size)):
            first = not (self.num_epochs or number)
            forget_gradients(self.optimizer)
            inputs = rows.batch(batch, kernels)
            logits = members(inputs, training.loss) if members else model(inputs)
            if first:
                check_logits(model, logits, len(batch))
            weights = None if rows.weights is None else rows.weights[batch]
            loss = summed_loss(logits, rows.labels.index_select(0, batch), training.loss, weights)
            loss.backward()
            if first:
                check_gradients(model)
            workers.after_backward(model)
            if training.gradient_clip:
                clip_gradient(model, training.gradient_clip)
            self.optimizer.step()
            total += loss.detach()
        train_loss, self.num_epochs = workers.mean_loss(total, rows), self.num_epochs + 1
        if not math.isfinite(train_loss):
            raise FloatingPointError(f"the loss is not finite in epoch {self.num_epochs}: lower training.learning_rate")
        settle(model)
        workers.after_epoch(model)
        return train_loss

    def evaluate(self) -> Metrics:
        """Compute the metrics on the validation rows."""
        return self.workers.evaluate(self.model, self.valid_rows, self.training)

    def follow(self, epoch: Epoch, is_best: bool) -> None:
        """Copy the weights of the best epoch, and set the next learning rate."""
        if is_best:
            for key, value in self.model.state_dict().items():
                self.best_weights[key].copy_(value)  # in place: a second copy would cost memory
        self.schedule(epoch.valid.score(self.training.metric))

    def keep(self, best_epoch: int) -> None:
        """Leave the model with the best epoch's weights, without its optimizer."""
        forget_optimizer(self.model)
        self.model.load_state_dict(self.best_weights)


class Boosting:
    """Train a model that adds trees in each epoch."""

    def __init__(
        self, model: Any, rows: Rows, valid_rows: Rows, training: TrainingParams, workers: Alone | None
    ) -> None:
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


def check_logits(model: nn.Module, logits: Tensor, num_rows: int) -> None:
    """Raise ValueError, which names the model's file, for logits of a wrong shape or type.

    Another shape would be broadcast against the labels, without an error and to nonsense.
    """
    name, several = type(model).__module__, hasattr(model, "members")
    method = "members" if several else "forward"
    if not isinstance(logits, Tensor) or logits.shape[:1] != (num_rows,) or logits.dim() != 1 + several:
        got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        asked = (
            f"the members' logits for each row, [{num_rows}, k]" if several else f"one logit for each row, [{num_rows}]"
        )
        raise ValueError(f"{name}: {method} must return {asked}, not {got}")
    if not logits.is_floating_point():
        raise ValueError(f"{name}: {method} must return floating-point logits, not {logits.dtype}")
    if not logits.isfinite().all():
        raise FloatingPointError(f"{name}: the logits of the first batch are not finite")
    if not logits.requires_grad:
        raise ValueError(f"{name}: the logits depend on no parameter")


def check_gradients(model: nn.Module) -> None:
    """Raise ValueError for parameters that take no part in the first batch's logits."""
    without = [name for name, each in model.named_parameters() if each.requires_grad and each.grad is None]
    if without:
        raise ValueError(f"{type(model).__module__}: no gradient reaches {', '.join(without)}")


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


def refuse_lists(model: nn.Module, rows: Rows) -> None:
    """Raise ValueError for fields that hold lists, which only tables of weights know."""
    if rows.bags:
        raise ValueError(f"{type(model).__module__}: it can't be fitted to fields that hold lists")


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


def batches(order: Tensor, batch_size: int) -> Sequence[Tensor]:
    """Split rows into batches of `batch_size`; the last batch has the rest.

    A single last row joins the batch before it, because batch norm needs two rows.
    """
    sizes = [batch_size] * (len(order) // batch_size)
    left = len(order) - sum(sizes)
    if left == 1 and sizes:
        sizes[-1] += 1
    elif left:
        sizes.append(left)
    return order.split(sizes)


def best(epochs: list[Epoch], metric: str) -> Epoch:
    """Find the epoch with the best validation metric; among equals, the first."""
    return min(epochs, key=lambda epoch: epoch.valid.score(metric))


def predict(model: nn.Module, rows: Rows, kernels: bool = True) -> Tensor:
    """Compute logits `[rows]`, and return them on the CPU. Raises FloatingPointError for one that is not finite."""
    return finite(compute_logits(model, rows, kernels))


def finite(logits: Tensor) -> Tensor:
    """Return logits that are all finite. Raises FloatingPointError otherwise."""
    if wrong := int((~logits.isfinite()).sum()):
        raise FloatingPointError(
            f"{wrong:,} of {len(logits):,} predictions are not finite: lower training.learning_rate"
        )
    return logits


@torch.no_grad()
def compute_logits(model: nn.Module, rows: Rows, kernels: bool = True) -> Tensor:
    """Compute logits `[rows]`, which may not be finite, and return them on the CPU."""
    model.eval()
    rows = rows.to(device_of(model))
    chunks = (slice(start, start + EVALUATION_ROWS) for start in range(0, len(rows), EVALUATION_ROWS))
    return torch.cat([model(rows.batch(chunk, kernels)) for chunk in chunks]).cpu()


def evaluate(
    model: nn.Module, rows: Rows, loss: str, kernels: bool = True, names: Iterable[str] = EVERY_EPOCH
) -> Metrics:
    """Compute metrics of a model on a split."""
    return compute_metrics(predict(model, rows, kernels), rows.labels, loss, names, rows.groups)
