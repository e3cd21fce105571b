"""Fit means of labels in closed form."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive


def fitted(size: int, value: float = 0.0) -> nn.Parameter:
    """Make weights that no gradient changes."""
    return nn.Parameter(torch.full((size,), value), requires_grad=False)


def effects(groups: Tensor, x: Tensor, left: Tensor, size: int, smoothing: float) -> Tensor:
    """Fit one effect for each group of rows: Σ x r / (Σ x² + λ).

    This is the ridge regression of what is left, r, on x. For x = 1 it is n / (n + λ) times the group's mean of r.
    Shape: `[rows]` each → float64 `[size]`.
    """
    sums, weights = (torch.bincount(groups, part.double(), minlength=size) for part in (x * left, x * x))
    return sums / (weights + smoothing)


def column(batch: Batch, field: int) -> Tensor:
    """Return the values of a field's features, `[batch]`."""
    return torch.ones(len(batch), device=batch.ids.device) if batch.values is None else batch.values[:, field]


class FeatureMeans(nn.Module):
    """Predict labels by the mean label and one effect for each feature: μ + Σ_i b_i x_i.

    Fields are fitted one after the other, each to what is left by those before it, so that fields which say the same
    count once. Shape: → `[batch]`.
    """

    def __init__(self, field_dims: Sequence[int], smoothing: float) -> None:
        positive(smoothing=smoothing)
        super().__init__()
        self.mean, self.effect, self.smoothing = fitted(1), fitted(sum(field_dims)), smoothing

    def fit(self, batch: Batch, labels: Tensor) -> None:
        left, fit = labels.double() - labels.double().mean(), torch.zeros_like(self.effect, dtype=torch.float64)
        self.mean.fill_(labels.double().mean())
        for field in range(batch.num_fields):
            ids, x = batch.ids[:, field], column(batch, field)
            fit += (found := effects(ids, x, left, len(fit), self.smoothing))
            left -= x * found[ids]
        self.effect.copy_(fit)

    def forward(self, batch: Batch) -> Tensor:
        effect = nn.functional.embedding(batch.ids, self.effect[:, None])[..., 0]  # [batch, n]
        return self.mean + (effect if batch.values is None else effect * batch.values).sum(-1)


class Output(nn.Module):
    """Turn the mean of a label ±1 into the logit that a loss asks for.

    For the squared error the logit is the mean m itself; for the cross-entropy it is the z with 2σ(z) − 1 = m, where m
    is kept 2·10⁻⁶ away from ±1.
    """

    log_odds: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("log_odds", torch.tensor(False))

    def fit(self, loss: str) -> None:
        self.log_odds.fill_(loss == "cross_entropy")

    def forward(self, means: Tensor) -> Tensor:
        return torch.where(self.log_odds, torch.logit((1 + means) / 2, eps=1e-6), means)
