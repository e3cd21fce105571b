"""Define DeepIFM: an IFM plus an MLP (Hong, Huang and Chen, AAAI 2019)."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.attention import PairAttention, Placement, attend
from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, LinearTerms
from models.layers.fields import FieldAspect, why_no_pairs
from models.layers.networks import ConcatenatedLinear, Dropout, mlp
from models.registry import register_model


@register_model
class DeepIFM(nn.Module):
    """Add an IFM and an MLP that share their embeddings.

    ŷ = w_0 + Σ_i w_i x_i + G_IFM(F_X, I_X) + y_DNN, with G_IFM of eq. 13. y_DNN is an MLP with ReLU on the
    concatenation of the same V_i x_i, as in `deepfm` (Guo et al. 2017, eq. 3–4).
    In the general form G(F_X, I_X) of eq. 11–12, both aspects are on and G is G_IFM, the sum of the inner products;
    y_DNN is added to it. The initial values are those of `ifm`; the MLP has torch's.

    NOTE: the paper does not give the hidden layers. One layer of 100 units is its DeepFM's, by its #PARAM. The
    attention T sees the pair-wise interactions before dropout.
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
        hidden_dims: Sequence[int] = (100,),
        dropout: float = 0.1,
        mlp_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        n = len(field_dims)
        self.linear = LinearTerms(field_dims)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.attention = PairAttention(embed_dim, attention_dim, temperature, temperature_placement)
        self.field_aspect = FieldAspect(n, embed_dim, field_embed_dim)
        self.dropout = Dropout(dropout)
        self.mlp = mlp(n * embed_dim, hidden_dims, mlp_dropout, linear=ConcatenatedLinear)

    decline = staticmethod(why_no_pairs)

    def forward(self, batch: Batch) -> Tensor:
        V, F = self.embedding(batch), self.field_aspect()
        T, effect = attend(self.attention, batch, V, F, self.dropout)  # [batch, P] each
        G = (T * effect).sum(-1)
        y_DNN = self.mlp(V).squeeze(-1)
        return self.linear(batch) + G + y_DNN
