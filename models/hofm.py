"""Define the higher-order factorization machine (Blondel et al. 2016)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, LinearTerms, written_out
from models.layers.networks import Dropout
from models.registry import register_model


@register_model
class HigherOrderFM(nn.Module):
    """Sum the interactions of up to `order` features.

    ŷ = w_0 + Σ_i w_i x_i + Σ_{t=2}^{order} Σ_k A^t(V^t_k, x), with separate factors V^t for each order t.
    The ANOVA kernel A^t sums Π V^t_i x_i over all sets of t features. Order 2 is an FM. V starts at N(0, 0.01²), w at
    zero. Raises ValueError for an order other than 2 and 3.

    NOTE: `dropout` is the dropout rate of each order's vector, as in `fm`. Blondel et al. have no dropout and no w_0.
    """

    family = "factorization machine"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 256,
        order: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if order not in (2, 3):
            raise ValueError(f"order must be 2 or 3, got {order}")
        self.linear = LinearTerms(field_dims)
        self.embedding = nn.ModuleList(FeatureEmbedding(field_dims, embed_dim) for _ in range(2, order + 1))
        self.dropout = Dropout(dropout)

    def forward(self, batch: Batch) -> Tensor:
        logit = self.linear(batch)
        for order, embedding in enumerate(self.embedding, start=2):
            logit = logit + self.dropout(anova(written_out(embedding(batch)), order)).sum(-1)
        return logit


def anova(embedding: Tensor, order: int) -> Tensor:
    """Sum the products of all sets of `order` embeddings.

    A^order = Σ_{i_1<i_2<…} V_{i_1} x_{i_1} ⊙ V_{i_2} x_{i_2} ⊙ …
    The time is linear in n: A^t of the first j features is A^t of the first j − 1 plus V_j x_j ⊙ A^{t−1} of the first j
    − 1 (Blondel et al. 2016, algorithm 1). Shape: `[batch, n, K]` → `[batch, K]`.
    """
    one, zero = torch.ones_like(embedding[:, 0]), torch.zeros_like(embedding[:, 0])
    A = [one] + [zero] * order  # A^0, …, A^order of no features
    for V_j in embedding.unbind(1):
        A = [one] + [A[t] + V_j * A[t - 1] for t in range(1, order + 1)]
    return A[order]
