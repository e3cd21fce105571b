"""Define IFM⁻, whose field aspect is not factorised (Hong et al., AAAI 2019, RQ3)."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.attention import PairAttention, Placement, attend
from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, LinearTerms
from models.layers.fields import FreeFieldAspect, why_no_pairs
from models.layers.networks import Dropout
from models.registry import register_model


@register_model
class UnfactorizedIFM(nn.Module):
    """Weigh interactions as `ifm`, with a free vector for each pair of fields.

    ŷ = w_0 + Σ_i w_i x_i + Σ_{i<j} T_ij ⟨F_{f_i, f_j}, V_i ⊙ V_j⟩ x_i x_j, F ∈ R^{n(n−1)/2 × K} free (eq. 4).
    In the general form G(F_X, I_X) of eq. 11–12, both aspects are on, I_ij = F_{f_i, f_j}; G sums the inner products
    (eq. 13). As in `ifm`, w starts at zero, V at N(0, 0.01²), T as in `PairAttention`.

    NOTE: the paper does not say how F starts. Here it starts at N(0, 26): `ifm`'s F, made of U and D, has this variance
    at the paper's K_F = 26, so the two models differ only in the factorisation. The attention T sees the pair-wise
    interactions before dropout.
    """

    family = "interaction-aware"

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
        self.field_aspect = FreeFieldAspect(len(field_dims), embed_dim, variance=26)
        self.dropout = Dropout(dropout)

    decline = staticmethod(why_no_pairs)

    def forward(self, batch: Batch) -> Tensor:
        V, F = self.embedding(batch), self.field_aspect()  # [P, K]
        T, effect = attend(self.attention, batch, V, F, self.dropout)  # [batch, P] each
        return self.linear(batch) + (T * effect).sum(-1)
