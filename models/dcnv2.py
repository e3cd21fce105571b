"""Define DCN-V2, crosses with matrices instead of vectors (Wang et al., WWW 2021)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, written_out
from models.layers.networks import Linear, hidden_layers
from models.registry import register_model


@register_model
class DeepAndCrossV2(nn.Module):
    """Feed the embeddings to crosses with matrices and to deep layers.

    Crosses are x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l, deep layers h_{l+1} = relu(BN(W'_l h_l + b'_l)), and x_0 is the
    concatenation of the embeddings V_i x_i. With `structure` parallel h_0 = x_0 and ŷ = w_logitsᵀ [x_L, h_L'] + b; with
    stacked h_0 = x_L and ŷ = w_logitsᵀ h_L' + b. With `cross` mixture, W_l is a mixture of low-rank experts: x_{l+1} =
    Σ_e G_e(x_l) x_0 ⊙ (U_l^e tanh(C_l^e tanh(V_l^eᵀ x_l)) + b_l) + x_l, G the softmax of a linear gate. Sources: Wang
    et al. 2021, section 3; FuxiCTR's `model_zoo/DCNv2` and its CrossNetV2 and CrossNetMix, whose sizes are the ones
    found for Frappe by BARS (Zhu et al. 2022). Embeddings start at N(0, 0.01²), U, C and V of the experts as Xavier's
    normal, b_l of a mixture at zero, all other weights at torch's initial values.

    NOTE: all embeddings have K numbers; the paper's sizes differ by field. All layers share one gate, as in the code.
    """

    family = "crosses"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 10,
        num_cross_layers: int = 4,
        cross: Literal["full", "mixture"] = "full",
        low_rank: int = 32,
        num_experts: int = 4,
        structure: Literal["parallel", "stacked"] = "parallel",
        hidden_dims: Sequence[int] = (400, 400, 400),
        mlp_dropout: float = 0.4,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        positive(num_cross_layers=num_cross_layers, len_hidden_dims=len(hidden_dims))
        d = len(field_dims) * embed_dim
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        full = cross == "full"
        self.crosses = Crosses(d, num_cross_layers) if full else Mixture(d, num_cross_layers, low_rank, num_experts)
        self.deep = hidden_layers(d, hidden_dims, mlp_dropout, batch_norm)
        self.parallel = structure == "parallel"
        self.w_logits = nn.Linear(hidden_dims[-1] + d * self.parallel, 1)

    def forward(self, batch: Batch) -> Tensor:
        x_0 = written_out(self.embedding(batch)).flatten(1)  # [batch, d]
        x_L = self.crosses(x_0)
        last = torch.cat([x_L, self.deep(x_0)], dim=1) if self.parallel else self.deep(x_L)
        return self.w_logits(last).squeeze(-1)


class Crosses(nn.Module):
    """Stack crosses x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l. Shape: `[batch, d]`, unchanged."""

    def __init__(self, d: int, num_layers: int) -> None:
        super().__init__()
        self.W = nn.ModuleList(Linear(d, d) for _ in range(num_layers))

    def forward(self, x_0: Tensor) -> Tensor:
        x_l = x_0
        for W_l in self.W:
            x_l = x_0 * W_l(x_l) + x_l
        return x_l


class Mixture(nn.Module):
    """Stack crosses whose matrix is a gated mixture of low-rank experts. Shape: `[batch, d]`, unchanged."""

    def __init__(self, d: int, num_layers: int, rank: int, num_experts: int) -> None:
        super().__init__()
        positive(low_rank=rank, num_experts=num_experts)
        scale = (2 / (d * rank + num_experts * rank)) ** 0.5
        self.U = nn.Parameter(torch.randn(num_layers, num_experts, d, rank) * scale)
        self.V = nn.Parameter(torch.randn(num_layers, num_experts, d, rank) * scale)
        self.C = nn.Parameter(
            torch.randn(num_layers, num_experts, rank, rank) * (2 / (rank * rank + num_experts * rank)) ** 0.5
        )
        self.b = nn.Parameter(torch.zeros(num_layers, d))
        self.gate = nn.Linear(d, num_experts, bias=False)

    def forward(self, x_0: Tensor) -> Tensor:
        x_l = x_0
        for U_l, C_l, V_l, b_l in zip(self.U, self.C, self.V, self.b, strict=True):
            G = torch.softmax(self.gate(x_l), dim=-1)  # [batch, experts]
            projected = torch.tanh(x_l @ V_l.transpose(0, 1).flatten(1)).unflatten(1, C_l.shape[:2])
            inner = G[..., None] * torch.tanh(torch.einsum("ers,bes->ber", C_l, projected))  # [batch, experts, rank]
            x_l = x_0 * (inner.flatten(1) @ U_l.mT.flatten(0, 1) + b_l) + x_l  # the weights G sum to 1, so b_l stays
        return x_l
