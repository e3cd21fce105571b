"""Define the interaction-aware neural network (Hong, Huang and Chen, AAAI 2019, eq. 14–15)."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.attention import PairAttention, Placement, attend
from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, LinearTerms
from models.layers.fields import FieldAspect, why_no_pairs
from models.layers.networks import Dropout, mlp
from models.registry import register_model


@register_model
class InteractionAwareNN(nn.Module):
    """Feed the concatenated interactions, weighed by both aspects, to an MLP.

    ŷ = w_0 + Σ_i w_i x_i + h_L, with h_0 the concatenation of all I_ij ⊙ F_ij (eq. 14).
    F_ij = T_ij (V_i ⊙ V_j) x_i x_j is the feature aspect and I_ij = Dᵀ (U_{f_i} ⊙ U_{f_j}) the field aspect (eq. 11). G
    of eq. 12 is an MLP with ReLU and a linear last unit (eq. 15). One hidden layer of 5 units is the released code's.

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
        hidden_dims: Sequence[int] = (5,),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        n = len(field_dims)
        self.linear = LinearTerms(field_dims)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.attention = PairAttention(embed_dim, attention_dim, temperature, temperature_placement)
        self.field_aspect = FieldAspect(n, embed_dim, field_embed_dim)
        self.dropout = Dropout(dropout)
        self.mlp = mlp(n * (n - 1) // 2 * embed_dim, hidden_dims)

    decline = staticmethod(why_no_pairs)

    def forward(self, batch: Batch) -> Tensor:
        V, I = self.embedding(batch), self.field_aspect()  # noqa: E741
        W_1, b_1 = self.mlp[0].parameters()
        M = W_1.unflatten(1, I.shape).transpose(0, 1) * I[:, None]  # [P, units, K]: W_1 h_0 is Σ T_ij M_ij (V_i ⊙ V_j)
        T, effect = attend(self.attention, batch, V, M, self.dropout)  # [batch, P], [batch, P, units]
        h_1 = (T[..., None] * effect).sum(1) + b_1
        return self.linear(batch) + self.mlp[1:](h_1).squeeze(-1)
