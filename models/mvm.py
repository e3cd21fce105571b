"""Define the multi-view machine (Cao et al. 2016), with each field a view."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, written_out
from models.layers.networks import Dropout
from models.registry import register_model


@register_model
class MultiViewMachine(nn.Module):
    """Model interactions of all sets of fields with one product.

    ŷ = Σ_k Π_f (V_{i_f,k} x_{i_f} + b_{f,k}), i_f the feature of field f (Cao et al. 2016).
    Multiplied out, the product has an interaction for every set of fields: each field gives its feature or its bias.

    NOTE: V starts at N(0, 0.01²). If b did too, a product of ten views and its gradient would be almost zero. So b
    starts at ±K^(−1/n) with random signs, which puts the K products near 1/K or −1/K. L2 is on V alone. In the paper b
    is one more row of V, and L2 is on both. `dropout` is the dropout rate of the K products, as in `fm`; the paper has
    none.
    """

    family = "factorization machine"

    def __init__(self, field_dims: Sequence[int], *, embed_dim: int = 256, dropout: float = 0.0) -> None:
        super().__init__()
        n = len(field_dims)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.bias = nn.Parameter(torch.randn(n, embed_dim).sign() * embed_dim ** (-1 / n))
        self.dropout = Dropout(dropout)

    def forward(self, batch: Batch) -> Tensor:
        views = written_out(self.embedding(batch)) + self.bias  # [batch, n, K]
        return self.dropout(views.prod(1)).sum(-1)
