"""Define FiBiNET, bilinear interactions of embeddings and of weighed embeddings (Huang et al., RecSys 2019)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, LinearTerms, written_out
from models.layers.fields import why_no_pairs
from models.layers.networks import mlp
from models.layers.pairs import field_pairs
from models.registry import register_model


@register_model
class FiBiNET(nn.Module):
    """Feed bilinear interactions of embeddings and of weighed embeddings to an MLP.

    ŷ = w_0 + Σ_i w_i x_i + MLP([p, q]). The weight of field i's embedding e_i = V_i x_i is a_i of a = relu(W_2 relu(W_1
    z)), where z_i is the mean of e_i (SENET); W_1 has ⌊n / `reduction_ratio`⌋ units, at least 1. p has the vectors (e_i
    W) ⊙ e_j of all pairs i < j, and q the same of the a_i e_i. The matrix W is one for `all`, or one for `each` field
    i, or one for each pair (`interaction`). Sources: Huang et al. 2019, SENET layer and bilinear interaction layer;
    FuxiCTR's `model_zoo/FiBiNET`, with the sizes that BARS (Zhu et al. 2022) found for Frappe; DeepCTR-Torch. V starts
    at N(0, 0.01²), w at zero, W as Xavier's normal, all other weights at torch's initial values.

    NOTE: p and q share W, as in DeepCTR-Torch and in BARS; the latest FuxiCTR has two. BARS also has batch norm in the
    MLP, the paper does not. It is off because, with Adam, its running averages lag behind p and q, which grow fast.
    """

    family = "deep"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 10,
        bilinear: Literal["all", "each", "interaction"] = "all",
        reduction_ratio: float = 2.0,
        hidden_dims: Sequence[int] = (400, 400, 400),
        mlp_dropout: float = 0.3,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        positive(reduction_ratio=reduction_ratio)
        n, K, P = len(field_dims), embed_dim, len(field_dims) * (len(field_dims) - 1) // 2
        reduced = max(1, int(n / reduction_ratio))
        self.linear = LinearTerms(field_dims)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.weigh = nn.Sequential(
            nn.Linear(n, reduced, bias=False), nn.ReLU(), nn.Linear(reduced, n, bias=False), nn.ReLU()
        )
        num_matrices = {"all": 1, "each": n - 1, "interaction": P}[bilinear]
        self.W = nn.Parameter(torch.randn(num_matrices, K, K) * K**-0.5)
        self.mlp = mlp(2 * P * K, hidden_dims, mlp_dropout, batch_norm)

    decline = staticmethod(why_no_pairs)

    def forward(self, batch: Batch) -> Tensor:
        e = written_out(self.embedding(batch))  # [batch, n, K]
        weighed = self.weigh(e.mean(-1))[..., None] * e
        p_and_q = torch.cat([self.interact(e), self.interact(weighed)], dim=1)
        return self.linear(batch) + self.mlp(p_and_q.flatten(1)).squeeze(-1)

    def interact(self, e: Tensor) -> Tensor:
        """Compute (e_i W) ⊙ e_j of all pairs, `[batch, P, K]`."""
        i, j = field_pairs(e.shape[1])
        if len(self.W) == len(i):  # a matrix for each pair; also where two fields have one
            return torch.einsum("bpk,pkl->bpl", e[:, i], self.W) * e[:, j]
        mapped = torch.einsum("bnk,nkl->bnl", e[:, :-1], self.W.expand(e.shape[1] - 1, -1, -1))
        return mapped[:, i] * e[:, j]
