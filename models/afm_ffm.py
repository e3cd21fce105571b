"""Define the FFM-style attentional factorization machine (Hong, Huang and Chen, AAAI 2019, RQ1)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.attention import PairAttention, attentional_pooling
from models.layers.batch import Batch
from models.layers.embeddings import FieldAwareEmbedding, LinearTerms
from models.layers.fields import why_no_pairs
from models.layers.networks import Dropout
from models.registry import register_model


@register_model
class FieldAwareAttentionalFM(nn.Module):
    """Weigh each field-aware interaction by attention.

    ŷ = w_0 + Σ_i w_i x_i + pᵀ Σ_{i<j} T_ij (V_{i,f_j} ⊙ V_{j,f_i}) x_i x_j.
    This is AFM (Xiao et al. 2017, eq. 6) "where each feature has separate latent vectors to interact with features from
    different fields", as in FFM (Juan et al. 2016). T_ij attends to the field-aware products. The initial values are
    those of `afm`.

    NOTE: the IFM paper gives no equation. Dropout, `temperature` and `batch_norm` are as in `afm`.
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
    ) -> None:
        super().__init__()
        self.linear = LinearTerms(field_dims)
        self.embedding = FieldAwareEmbedding(field_dims, embed_dim)
        self.attention = PairAttention(embed_dim, attention_dim, temperature)
        self.dropout = Dropout(dropout)
        self.batch_norm = nn.BatchNorm1d(embed_dim) if batch_norm else nn.Identity()
        self.p = nn.Parameter(torch.ones(embed_dim))

    decline = staticmethod(why_no_pairs)

    def forward(self, batch: Batch) -> Tensor:
        V = self.embedding(batch)
        interactions = attentional_pooling(self.attention, batch, V, self.p, self.dropout, self.batch_norm)
        return self.linear(batch) + interactions
