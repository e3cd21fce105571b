"""Define DESTINE, attention with a pairwise and a unary part (Xu et al., CIKM 2021)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, written_out
from models.layers.networks import ConcatenatedLinear, Dropout, mlp
from models.registry import register_model


@register_model
class DisentangledSelfAttentiveNetwork(nn.Module):
    """Let embeddings attend to each other, by pair and by field, beside an MLP.

    ŷ = wᵀ [e_1 … e_n] + b + MLP([V_1 x_1 … V_n x_n]), after layers that change e_m = V_m x_m of field m. With q_m, k_m
    and v_m linear in e_m and means μ over the fields, head h of a layer has the pairwise part α_mk = softmax_k ⟨q_m −
    μ_q, k_k − μ_k⟩ / √K_h, the unary part β_k = softmax_k(u_h · e_k + b_h), and ẽ_m^h = Σ_k (α_mk + β_k) v_k. All
    heads together give e_m ← [ẽ_m^1 … ẽ_m^H] + W_Res e_m. Sources: Xu et al. 2021, Disentangled Self-Attentive Neural
    Networks for Click-Through Rate Prediction; FuxiCTR's `model_zoo/DESTINE`, with the sizes that BARS (Zhu et al.
    2022) found for Frappe. `attention_dropout` is the dropout rate of α + β. Embeddings start at N(0, 0.01²), all other
    weights at torch's initial values.

    NOTE: with several heads, FuxiCTR cuts the numbers of a row, field after field, into as many pieces as there are
    heads, and a head attends within its piece. Here each head has its own part of the numbers of each field, as in the
    paper. With one head, as in the setting for Frappe, both are the same.
    """

    family = "attention"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 10,
        num_attention_layers: int = 4,
        num_heads: int = 1,
        head_dim: int = 128,
        attention_dropout: float = 0.0,
        hidden_dims: Sequence[int] = (400, 400, 400),
        mlp_dropout: float = 0.2,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        n, size = len(field_dims), num_heads * head_dim
        positive(num_attention_layers=num_attention_layers, num_heads=num_heads, head_dim=head_dim)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.attention = nn.Sequential(
            *(
                DisentangledSelfAttention(size if layer else embed_dim, num_heads, head_dim, attention_dropout)
                for layer in range(num_attention_layers)
            )
        )
        self.w = nn.Linear(n * size, 1)
        self.mlp = mlp(n * embed_dim, hidden_dims, mlp_dropout, batch_norm, ConcatenatedLinear)

    def forward(self, batch: Batch) -> Tensor:
        V = self.embedding(batch)
        return (self.w(self.attention(written_out(V)).flatten(1)) + self.mlp(V)).squeeze(-1)


class DisentangledSelfAttention(nn.Module):
    """Compute one layer of attention among fields. Shape: `[batch, n, inputs]` → `[batch, n, heads · head_dim]`."""

    def __init__(self, input_dim: int, num_heads: int, head_dim: int, dropout: float) -> None:
        super().__init__()
        self.heads, size = (num_heads, head_dim), num_heads * head_dim
        self.W_q, self.W_k, self.W_v, self.W_Res = (nn.Linear(input_dim, size) for _ in range(4))
        self.u = nn.Linear(input_dim, num_heads)
        self.dropout = Dropout(dropout)

    def forward(self, e: Tensor) -> Tensor:
        q, k, v = (W(e).unflatten(-1, self.heads).transpose(1, 2) for W in (self.W_q, self.W_k, self.W_v))
        q, k = (each - each.mean(2, keepdim=True) for each in (q, k))  # [batch, heads, n, head_dim]
        alpha = torch.softmax(q @ k.mT * self.heads[1] ** -0.5, dim=-1)  # [batch, heads, n, n]
        beta = torch.softmax(self.u(e), dim=1).mT[:, :, None]  # [batch, heads, 1, n]
        attended = self.dropout(alpha + beta) @ v
        return attended.transpose(1, 2).flatten(2) + self.W_Res(e)
