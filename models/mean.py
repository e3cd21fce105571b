"""Define the mean of the labels, a baseline."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.means import Output, fitted
from models.registry import register_model


@register_model
class Mean(nn.Module):
    """Predict the mean label of the training rows: Σ y / (n + λ).

    It shows what the share of positives alone is worth. It is fitted in closed form. λ, the `smoothing`, matters for a
    handful of rows only: it is there because a search needs something to draw.
    """

    family = "baseline"

    def __init__(self, field_dims: Sequence[int], *, smoothing: float = 1.0) -> None:
        positive(smoothing=smoothing)
        super().__init__()
        self.mean, self.output, self.smoothing = fitted(1), Output(), smoothing

    @torch.no_grad()
    def fit(self, batch: Batch, labels: Tensor, loss: str) -> None:
        self.mean.fill_(labels.double().sum() / (len(labels) + self.smoothing))
        self.output.fit(loss)

    def forward(self, batch: Batch) -> Tensor:
        return self.output(self.mean).expand(batch.ids.shape[0])
