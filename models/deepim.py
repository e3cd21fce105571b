"""Define DeepIM, interactions of several orders beside an MLP (Yu et al., WSDM 2020)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, written_out
from models.layers.networks import ConcatenatedLinear, mlp
from models.registry import register_model


@register_model
class DeepInteractionMachine(nn.Module):
    """Weigh the pooled interactions of each order, and add an MLP.

    ŷ = wᵀ [E_1 … E_p] + b + MLP([V_1 x_1 … V_n x_n]), where E_d = Σ_{i_1<…<i_d} V_{i_1} x_{i_1} ⊙ … ⊙ V_{i_d} x_{i_d}
    pools the interactions of d features. With the power sums P_d = Σ_i (V_i x_i)^d, Newton's identities give E_d =
    (1/d) Σ_{k=1..d} (−1)^{k−1} E_{d−k} ⊙ P_k. Sources: Yu et al. 2020, Deep Interaction Machine: A Simple but Effective
    Model for High-order Feature Interactions; FuxiCTR's `model_zoo/DeepIM`, with the sizes that BARS (Zhu et al. 2022)
    found for Frappe. Embeddings start at N(0, 0.01²), all other weights at torch's initial values.
    """

    family = "crosses"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 10,
        order: int = 3,
        hidden_dims: Sequence[int] = (400, 400, 400),
        mlp_dropout: float = 0.1,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        if not 1 <= order <= 5:
            raise ValueError(f"order must be between 1 and 5, got {order}")
        self.order = order
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.w = nn.Linear(order * embed_dim, 1)
        self.mlp = mlp(len(field_dims) * embed_dim, hidden_dims, mlp_dropout, batch_norm, ConcatenatedLinear)

    def forward(self, batch: Batch) -> Tensor:
        V = self.embedding(batch)
        pooled = interactions(written_out(V), self.order)
        return (self.w(torch.cat(pooled, dim=-1)) + self.mlp(V)).squeeze(-1)


def interactions(V: Tensor, order: int) -> list[Tensor]:
    """Pool the interactions of each order from 1 on. Shape: `[batch, n, K]` → `order` times `[batch, K]`."""
    powers = [V.pow(k).sum(1) for k in range(1, order + 1)]
    E = [torch.ones_like(powers[0])]
    for d in range(1, order + 1):
        terms = [(-1) ** (k - 1) * E[d - k] * powers[k - 1] for k in range(1, d + 1)]
        E.append(torch.stack(terms).sum(0) / d)
    return E[1:]
