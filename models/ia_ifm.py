"""Define IA-IFM, the IFM with its field aspect only (Hong et al., AAAI 2019, RQ2)."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, LinearTerms
from models.layers.fields import FieldAspect, why_no_pairs
from models.layers.networks import Dropout
from models.layers.pairs import mean_over_present, pair_effects
from models.registry import register_model


@register_model
class FieldAspectIFM(nn.Module):
    """Weigh pair-wise interactions by the field aspect alone.

    ŷ = w_0 + Σ_i w_i x_i + Σ_{i<j} 1/P (U_{f_i} ⊙ U_{f_j})ᵀ D (V_i ⊙ V_j) x_i x_j (eq. 9 with T_ij = 1/P).
    In the general form G(F_X, I_X) of eq. 11–12, the feature aspect is off and the field aspect of eq. 6 is on; G sums
    the inner products (eq. 13). As in `ifm`, w starts at zero, V at N(0, 0.01²), U and D at N(0, 1).

    NOTE: the paper does not give the constant that replaces T. With P pairs, 1/P is the limit of eq. 5 for τ → ∞, where
    the feature aspect has no effect according to the paper. It keeps the scale of `ifm`. A pair with x_i x_j = 0 does
    not count among the P.
    """

    family = "interaction-aware"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 256,
        field_embed_dim: int = 26,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.linear = LinearTerms(field_dims)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.field_aspect = FieldAspect(len(field_dims), embed_dim, field_embed_dim)
        self.dropout = Dropout(dropout)

    decline = staticmethod(why_no_pairs)

    def forward(self, batch: Batch) -> Tensor:
        I_X = self.field_aspect()  # [P, K]
        effect = pair_effects(self.embedding(batch), I_X, self.dropout)  # [batch, P]
        return self.linear(batch) + mean_over_present(effect, batch.absent())  # T_ij = 1/P
