"""Compute the metrics of predictions against labels ±1, and of resamples of the rows."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from pipelines.project.metric import EVERY_EPOCH, METRICS, ByPlaces
from pipelines.project.predicted import Counts, Predicted

MOST_ROWS, NUM_BLOCKS = 1 << 19, 20_000  # from how many rows on, blocks of rows are resampled instead


class Metrics(dict[str, float]):
    """Map names of metrics to their values on one split."""

    def score(self, metric: str) -> float:
        """Turn a metric so that less is better."""
        return METRICS[metric].score(self[metric])

    def named(self, split: str) -> dict[str, float]:
        """Return a dict with keys such as `test_rmse`."""
        return {f"{split}_{name}": value for name, value in self.items()}


def predictions(logits: Tensor, loss: str) -> Tensor:
    """Turn logits into predictions of the label, in [−1, 1].

    A model trained on squared error predicts the label itself, and is clipped as in the paper's code; one trained
    on cross-entropy predicts P(+1) = σ(logit), so the label's expectation is 2σ(logit) − 1.
    """
    return logits.clamp(-1, 1) if loss == "squared_error" else 2 * torch.sigmoid(logits) - 1


def predicted(logits: Tensor, labels: Tensor, loss: str, groups: Tensor | None = None) -> Predicted:
    """Gather logits, predictions, labels and groups `[rows]` as arrays, in float64."""
    logits, labels = logits.double().cpu(), labels.double().cpu()
    arrays = (logits.numpy(), predictions(logits, loss).numpy(), labels.numpy())
    return Predicted(*arrays, None if groups is None else groups.cpu().numpy())


def compute_metrics(
    logits: Tensor, labels: Tensor, loss: str, names: Iterable[str] = EVERY_EPOCH, groups: Tensor | None = None
) -> Metrics:
    """Compute metrics of logits `[rows]` against labels `[rows]`, in float64.

    `groups` `[rows]` are numbers of groups, for metrics by group. Raises ValueError for a metric that is not defined,
    such as the AUC of one class, and FloatingPointError for a logit that is not a number.
    """
    rows = predicted(logits, labels, loss, groups)
    return Metrics({name: METRICS[name].value(rows) for name in names})


def after_epoch(deciding: str) -> tuple[str, ...]:
    """Name the metrics that are computed after each epoch: cheap ones and the one that decides."""
    return EVERY_EPOCH if deciding in EVERY_EPOCH else (*EVERY_EPOCH, deciding)


def defined(labels: Tensor, groups: Tensor | None = None) -> tuple[str, ...]:
    """Name the metrics that can be computed on rows of both classes: all, or all but those by group."""
    mixed = have_mixed_groups(labels, groups)
    return tuple(name for name, metric in METRICS.items() if mixed or not metric.by_group)


def have_mixed_groups(labels: Tensor, groups: Tensor | None) -> bool:
    """Tell whether a group has rows of both classes."""
    if groups is None:
        return False
    sides = [groups[labels > 0], groups[labels <= 0]]
    return bool(torch.isin(*sides).any())


def of_rows(by_places: ByPlaces, rows: Predicted) -> Callable[[Counts], float]:
    """Make a function that computes a metric where each row counts so often."""
    return lambda counts: by_places(*rows.by_place(counts))


def on_resamples(
    metric: str,
    logits: Tensor,
    labels: Tensor,
    loss: str,
    seed: int,
    num_resamples: int,
    groups: Tensor | None = None,
) -> list[float]:
    """Compute a metric on resamples of the rows, drawn with replacement; a metric by group, of the groups.

    A resample has as many rows as the data. The resamples depend only on the seed and the number of rows. More than
    `MOST_ROWS` are first dealt into blocks at random, and blocks are drawn instead of rows: then a metric that is no
    mean over rows is computed to first order, which is exact enough for so many rows.
    """
    rows, record, rng = predicted(logits, labels, loss, groups), METRICS[metric], np.random.default_rng(seed)
    if record.by_places and len(labels) <= MOST_ROWS:
        num_drawn, compute = len(labels), of_rows(record.by_places, rows)
    else:
        means = record.means(rows)
        num_drawn, block = len(means.values), None
        if num_drawn > MOST_ROWS:
            block, num_drawn = rng.integers(NUM_BLOCKS, size=num_drawn), NUM_BLOCKS
        compute = means.of_drawn(block, num_drawn)
    draws = (rng.integers(num_drawn, size=num_drawn) for _ in range(num_resamples))
    return [round(compute(np.bincount(drawn, minlength=num_drawn)), 6) for drawn in draws]
