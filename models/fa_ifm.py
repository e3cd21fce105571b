"""Define FA-IFM, the IFM with its feature aspect only (Hong et al., AAAI 2019, RQ2)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.attention import PairAttention, Placement, attend
from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, LinearTerms
from models.layers.fields import why_no_pairs
from models.layers.networks import Dropout
from models.registry import register_model


@register_model
class FeatureAspectIFM(nn.Module):
    """Weigh pair-wise interactions by the feature aspect alone.

    ŷ = w_0 + Σ_i w_i x_i + Σ_{i<j} T_ij ⟨1, V_i ⊙ V_j⟩ x_i x_j (eq. 4 with F all ones).
    In the general form G(F_X, I_X) of eq. 11–12, the feature aspect of eq. 5 is on and the field aspect is off, I_ij =
    1; G sums the inner products (eq. 13). As in `ifm`, w starts at zero, V at N(0, 0.01²), T as in `PairAttention`.

    NOTE: the attention T sees the pair-wise interactions before dropout; the paper does not say which.
    """

    family = "interaction-aware"

    I_X: Tensor

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 256,
        attention_dim: int = 256,
        temperature: float = 10.0,
        temperature_placement: Placement = "logits",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.linear = LinearTerms(field_dims)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.attention = PairAttention(embed_dim, attention_dim, temperature, temperature_placement)
        self.dropout = Dropout(dropout)
        self.register_buffer("I_X", torch.ones(math.comb(len(field_dims), 2), embed_dim), persistent=False)

    decline = staticmethod(why_no_pairs)

    def forward(self, batch: Batch) -> Tensor:
        V = self.embedding(batch)
        T, effect = attend(self.attention, batch, V, self.I_X, self.dropout)  # [batch, P] each
        return self.linear(batch) + (T * effect).sum(-1)
