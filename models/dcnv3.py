"""Define DCNv3, now called FCN: linear and exponential crosses (Li et al. 2024)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, written_out
from models.layers.networks import Dropout
from models.registry import register_model


@register_model
class DeepAndCrossV3(nn.Module):
    """Average two cross networks, whose degree grows linearly and exponentially.

    ŷ = ½ (w_Dᵀ x_L + b_D + w_Sᵀ x_L' + b_S). The exponential network has x_{l+1} = x_l ⊙ (m(W_l x_l) + b_l) + x_l, the
    linear one x_{l+1} = x_0 ⊙ (m(W_l x_l) + b_l) + x_l. W_l halves the size, and m(c) = [c, c ⊙ relu(LN(c))] doubles
    it, with the second half masked (self-mask). x_0 has the first halves of the embeddings V_i x_i, then their second
    halves. `deep_dropout` and `shallow_dropout` are the dropout rates of x_l in the exponential and the linear network.
    Sources: Li et al. 2024 (arXiv 2407.13349) and the authors' repository FCN; the sizes are the defaults of its code.
    V starts at N(0, 0.01²), b_l at U[0, 1), all other weights at torch's initial values. There is no MLP.

    NOTE: the authors' Tri-BCE loss also trains each network alone; here the loss is on ŷ. Their embeddings may have
    several heads, each with its own logit; this is the form with one head.
    """

    family = "crosses"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 10,
        num_deep_layers: int = 4,
        num_shallow_layers: int = 4,
        deep_dropout: float = 0.1,
        shallow_dropout: float = 0.3,
    ) -> None:
        super().__init__()
        positive(num_deep_layers=num_deep_layers, num_shallow_layers=num_shallow_layers)
        if embed_dim % 2:
            raise ValueError(f"embed_dim must be even, got {embed_dim}")
        d = len(field_dims) * embed_dim
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.deep = nn.ModuleList(SelfMaskedCross(d, deep_dropout) for _ in range(num_deep_layers))
        self.shallow = nn.ModuleList(SelfMaskedCross(d, shallow_dropout) for _ in range(num_shallow_layers))
        self.w_D, self.w_S = nn.Linear(d, 1), nn.Linear(d, 1)

    def forward(self, batch: Batch) -> Tensor:
        V = written_out(self.embedding(batch))  # [batch, n, K]
        x_0 = torch.cat([half.flatten(1) for half in V.chunk(2, dim=-1)], dim=1)
        x = y = x_0
        for cross in self.deep:
            x = cross(x, x)
        for cross in self.shallow:
            y = cross(x_0, y)
        return ((self.w_D(x) + self.w_S(y)) / 2).squeeze(-1)


class SelfMaskedCross(nn.Module):
    """Compute a cross whose second half is masked.

    x ⊙ (m(W x_l) + b) + x_l with m(c) = [c, c ⊙ relu(LN(c))]. Shape: `[batch, d]` → `[batch, d]`.
    """

    def __init__(self, d: int, dropout: float) -> None:
        super().__init__()
        self.W, self.b = nn.Linear(d, d // 2, bias=False), nn.Parameter(torch.rand(d))
        self.norm, self.dropout = nn.LayerNorm(d // 2), Dropout(dropout)

    def forward(self, x: Tensor, x_l: Tensor) -> Tensor:
        c = self.W(x_l)
        m = torch.cat([c, c * torch.relu(self.norm(c))], dim=1)
        return self.dropout(x * (m + self.b) + x_l)
