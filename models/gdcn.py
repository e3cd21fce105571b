"""Define GDCN, crosses that a gate filters (Wang et al., CIKM 2023)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, written_out
from models.layers.networks import hidden_layers
from models.registry import register_model


@register_model
class GatedDeepAndCross(nn.Module):
    """Gate each number of each cross, before or beside deep layers.

    Gated crosses are c_{l+1} = c_0 ⊙ (W_l c_l + b_l) ⊙ σ(G_l c_l) + c_l, and c_0 = [V_1 x_1 … V_n x_n]. With
    `structure` stacked (GDCN-S) ŷ = wᵀ h_L' + b with deep layers on c_L; with parallel (GDCN-P) ŷ = wᵀ [c_L, h_L'] + b
    with deep layers on c_0. Deep layers are h_{l+1} = relu(BN(W'_l h_l + b'_l)). Sources: Wang et al. 2023 and the
    authors' repository GDCN, whose defaults these are; FuxiCTR's `model_zoo/GDCN`. Embeddings start at N(0, 0.01²), b_l
    at U[0, 1) as in the code, all other weights at torch's initial values.

    NOTE: all embeddings have K numbers. The paper also shrinks the embeddings of each field (FDO), after a training.
    """

    family = "crosses"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 16,
        num_cross_layers: int = 3,
        structure: Literal["stacked", "parallel"] = "stacked",
        hidden_dims: Sequence[int] = (400, 400, 400),
        mlp_dropout: float = 0.5,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        positive(num_cross_layers=num_cross_layers, len_hidden_dims=len(hidden_dims))
        d = len(field_dims) * embed_dim
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.W, self.G = (nn.ModuleList(nn.Linear(d, d, bias=False) for _ in range(num_cross_layers)) for _ in range(2))
        self.b = nn.Parameter(torch.rand(num_cross_layers, d))
        self.deep = hidden_layers(d, hidden_dims, mlp_dropout, batch_norm)
        self.parallel = structure == "parallel"
        self.w = nn.Linear(hidden_dims[-1] + d * self.parallel, 1)

    def forward(self, batch: Batch) -> Tensor:
        c_0 = c_l = written_out(self.embedding(batch)).flatten(1)  # [batch, d]
        for W_l, G_l, b_l in zip(self.W, self.G, self.b, strict=True):
            c_l = c_0 * (W_l(c_l) + b_l) * torch.sigmoid(G_l(c_l)) + c_l
        last = torch.cat([c_l, self.deep(c_0)], dim=1) if self.parallel else self.deep(c_l)
        return self.w(last).squeeze(-1)
