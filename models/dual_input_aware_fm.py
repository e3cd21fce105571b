"""Define the dual input-aware FM, whose features are weighed by two networks (Lu et al., IJCAI 2020)."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.attention import SelfAttention
from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, LinearTerms, written_out
from models.layers.networks import ConcatenatedLinear, hidden_layers
from models.layers.pairs import bi_interaction
from models.registry import register_model


@register_model
class DualInputAwareFM(nn.Module):
    """Weigh each feature of an FM by the sum of two factors, from an MLP and from self-attention.

    ŷ = w_0 + Σ_i m_i w_i x_i + Σ_{i<j} ⟨m_i V_i, m_j V_j⟩ x_i x_j with m = P_bit h + P_vec [o_1 … o_n]. The bit-wise
    part h is that of `input_aware_fm`: the hidden layers of an MLP on the concatenated V_i x_i. The vector-wise part o
    is one layer of multi-head self-attention among the V_i x_i, scaled by 1/√head_dim, o_i = relu([ẽ_i^1 … ẽ_i^H] +
    W_Res V_i x_i). m has no softmax. Sources: Lu et al. 2020, A Dual Input-aware Factorization Machine for CTR
    Prediction, as DeepCTR-Torch's `DIFM` and RefineCTR's `DualFENLayer` compute it; the sizes are those of RefineCTR
    for Frappe. w starts at zero, V at N(0, 0.01²), all other weights at torch's initial values.

    NOTE: RefineCTR adds biases to the projections of the attention; DeepCTR-Torch has none. PaddleRec's `difm` takes
    the softmax of m, without the factor n, and leaves out the ReLU.
    """

    family = "factorization machine"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 16,
        num_heads: int = 4,
        head_dim: int = 16,
        hidden_dims: Sequence[int] = (256, 256, 256),
        mlp_dropout: float = 0.5,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        positive(len_hidden_dims=len(hidden_dims))
        n = len(field_dims)
        self.linear = LinearTerms(field_dims)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.hidden = hidden_layers(n * embed_dim, hidden_dims, mlp_dropout, batch_norm, ConcatenatedLinear)
        self.attention = SelfAttention(embed_dim, num_heads, head_dim, scaled=True, identity=False)
        self.P_bit = nn.Linear(hidden_dims[-1], n, bias=False)
        self.P_vec = nn.Linear(n * num_heads * head_dim, n, bias=False)

    def forward(self, batch: Batch) -> Tensor:
        embeddings = self.embedding(batch)
        V = written_out(embeddings)  # [batch, n, K]
        m = self.P_bit(self.hidden(embeddings)) + self.P_vec(self.attention(V).flatten(1))  # [batch, n]
        first_order = self.linear.bias + (m * self.linear.terms(batch)).sum(-1)
        return first_order + bi_interaction(m[..., None] * V).sum(-1)
