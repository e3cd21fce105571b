"""Define the attentional factorization machine (Xiao et al. 2017)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.attention import PairAttention, attentional_pooling
from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, LinearTerms
from models.layers.fields import why_no_pairs
from models.layers.networks import Dropout
from models.registry import register_model


@register_model
class AttentionalFM(nn.Module):
    """Weigh each pair-wise interaction by attention.

    ŷ = w_0 + Σ_i w_i x_i + pᵀ Σ_{i<j} T_ij (V_i ⊙ V_j) x_i x_j (Xiao et al. 2017, eq. 6).
    V starts at N(0, 0.01²), w at zero, p at ones, the attention T as in `PairAttention`. The `temperature` τ is 1 in
    the paper. `dropout` is the dropout rate of the interactions; `batch_norm` normalises the pooled vector.

    NOTE: T is a softmax over the pairs, as in the paper. In the released code the softmax is over an axis of length 1,
    so all weights are 1; `inert_attention` does the same. The released code drops from the pooled vector, not from the
    interactions. As in `ifm`, T sees the interactions before dropout.
    """

    family = "attention"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 256,
        attention_dim: int = 256,
        temperature: float = 1.0,
        dropout: float = 0.5,
        batch_norm: bool = False,
        inert_attention: bool = False,
    ) -> None:
        super().__init__()
        self.linear = LinearTerms(field_dims)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.attention = PairAttention(embed_dim, attention_dim, temperature)
        self.attention.requires_grad_(not inert_attention and len(field_dims) > 2)  # else all weights are equal
        self.dropout = Dropout(dropout)
        self.batch_norm = nn.BatchNorm1d(embed_dim) if batch_norm else nn.Identity()
        self.p = nn.Parameter(torch.ones(embed_dim))
        self.inert_attention = inert_attention

    decline = staticmethod(why_no_pairs)

    def forward(self, batch: Batch) -> Tensor:
        V = self.embedding(batch)
        attention = None if self.inert_attention else self.attention
        interactions = attentional_pooling(attention, batch, V, self.p, self.dropout, self.batch_norm)
        return self.linear(batch) + interactions
