"""Train one model with one setting and one seed, and keep the best epoch's weights."""

import math
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from models.layers.checks import enough_rows
from models.layers.embeddings import settle
from models.registry import is_boosted, is_closed_form
from pipelines.data.rows import Rows
from pipelines.project.params import TrainingParams
from pipelines.training.epochs import EarlyStopping, Epoch, no_report
from pipelines.training.first_batch import check_gradients, check_logits
from pipelines.training.loss import summed_loss
from pipelines.training.metrics import Metrics, after_epoch
from pipelines.training.optimizers.make import forget_gradients, forget_optimizer, make_optimizer
from pipelines.training.predicting import evaluate
from pipelines.training.process import device_of
from pipelines.training.recipe import clip_gradient, make_schedule
from pipelines.training.without_gradients import Boosting, fit


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
    given = model, rows, valid_rows, training
    course = Boosting(*given) if is_boosted(model) else Descent(*given, workers)
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
