"""Define the interaction-aware factorization machine (Hong, Huang and Chen, AAAI 2019).

Input-aware FM (Yu et al. 2019) is another model.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.attention import PairAttention, Placement, attend
from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, LinearTerms
from models.layers.fields import FieldAspect, why_no_pairs
from models.layers.networks import Dropout
from models.registry import register_model


@register_model
class InteractionAwareFM(nn.Module):
    """Weigh each interaction by its features and by its fields.

    ŷ = w_0 + Σ_i w_i x_i + Σ_{i<j} T_ij (U_{f_i} ⊙ U_{f_j})ᵀ D (V_i ⊙ V_j) x_i x_j (eq. 9).
    In the general form G(F_X, I_X) of eq. 11–12, G sums the inner products (eq. 13).

    NOTE: the attention T sees the pair-wise interactions before dropout; the paper does not say which.
    """

    family = "interaction-aware"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 256,
        attention_dim: int = 256,
        field_embed_dim: int = 26,
        temperature: float = 10.0,
        temperature_placement: Placement = "logits",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.linear = LinearTerms(field_dims)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.attention = PairAttention(embed_dim, attention_dim, temperature, temperature_placement)
        self.field_aspect = FieldAspect(len(field_dims), embed_dim, field_embed_dim)
        self.dropout = Dropout(dropout)

    decline = staticmethod(why_no_pairs)

    def forward(self, batch: Batch) -> Tensor:
        V, F = self.embedding(batch), self.field_aspect()
        T, effect = attend(
            self.attention, batch, V, F, self.dropout
        )  # T_ij and F_ijᵀ (V_i ⊙ V_j) x_i x_j, [batch, P] each
        return self.linear(batch) + (T * effect).sum(-1)
