"""Predict the rows of a split, and measure the predictions."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from pipelines.data.rows import Rows
from pipelines.project.metric import EVERY_EPOCH
from pipelines.training.metrics import Metrics, compute_metrics
from pipelines.training.process import device_of

EVALUATION_ROWS = 1 << 14  # at a time: the more, the fewer distinct pairs of features for each row


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
