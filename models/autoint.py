"""Define AutoInt, self-attention among the fields (Song et al., CIKM 2019)."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.attention import SelfAttention
from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, written_out
from models.layers.networks import ConcatenatedLinear, mlp
from models.registry import register_model


@register_model
class AutoInt(nn.Module):
    """Let embeddings attend to each other, layer after layer.

    ŷ = wᵀ [e_1 … e_n] + b, after layers that change e_m = V_m x_m of field m. Head h of a layer has α_mk = softmax_k
    ⟨W_Q^h e_m, W_K^h e_k⟩ and ẽ_m^h = Σ_k α_mk W_V^h e_k; all heads together give e_m ← relu([ẽ_m^1 … ẽ_m^H] + W_Res
    e_m). Where sizes agree, W_Res is the identity. With `hidden_dims`, AutoInt+ adds an MLP on the V_m x_m. Sources:
    Song et al. 2019, section on the interacting layer; FuxiCTR's `model_zoo/AutoInt`, whose sizes are those found for
    Frappe by BARS (Zhu et al. 2022); the authors' repository RecommenderSystems. `attention_dropout` is the dropout
    rate of α. Embeddings start at N(0, 0.01²), all other weights at torch's initial values.

    NOTE: the authors' code also has ReLU and biases in W_Q, W_K, W_V and W_Res, divides by √K_h, and normalises each
    layer. Neither the paper's equations nor FuxiCTR's setting on Frappe have these.
    """

    family = "attention"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 10,
        num_attention_layers: int = 6,
        num_heads: int = 4,
        head_dim: int = 32,
        attention_dropout: float = 0.0,
        hidden_dims: Sequence[int] = (),
        mlp_dropout: float = 0.0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        n, size = len(field_dims), num_heads * head_dim
        positive(num_attention_layers=num_attention_layers, num_heads=num_heads, head_dim=head_dim)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.attention = nn.Sequential(
            *(
                SelfAttention(size if layer else embed_dim, num_heads, head_dim, attention_dropout)
                for layer in range(num_attention_layers)
            )
        )
        self.w = nn.Linear(n * size, 1)
        deep = mlp(n * embed_dim, hidden_dims, mlp_dropout, batch_norm, ConcatenatedLinear) if hidden_dims else None
        self.mlp = deep

    def forward(self, batch: Batch) -> Tensor:
        V = self.embedding(batch)
        logit = self.w(self.attention(written_out(V)).flatten(1))
        return (logit if self.mlp is None else logit + self.mlp(V)).squeeze(-1)
