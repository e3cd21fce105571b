"""Define logistic (or linear) regression on one-hot features (McMahan et al. 2013)."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.embeddings import LinearTerms
from models.registry import register_model


@register_model
class LogisticRegression(nn.Module):
    """Add the weights of the features: ŷ = w_0 + Σ_i w_i x_i."""

    family = "linear"

    def __init__(self, field_dims: Sequence[int]) -> None:
        super().__init__()
        self.linear = LinearTerms(field_dims)

    def forward(self, batch: Batch) -> Tensor:
        return self.linear(batch)
