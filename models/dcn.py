"""Define the Deep & Cross network (Wang et al., ADKDD 2017)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, written_out
from models.layers.networks import mlp
from models.registry import register_model


@register_model
class DeepAndCross(nn.Module):
    """Feed the embeddings to crosses and to deep layers.

    ŷ = w_logitsᵀ [x_L, h_L'] with crosses x_{l+1} = x_0 x_lᵀ w_l + b_l + x_l (Wang et al. 2017, eq. 3) and deep layers
    h_{l+1} = relu(W_l h_l + b_l) (eq. 4). Both start from x_0 = h_0, the concatenation of the embeddings V_i x_i.
    V starts at N(0, 0.01²), w_l at N(0, 1/d) with d the size of x_0, b_l at zero. The deep layers and w_logits have
    torch's initial values. Six crosses and two layers of 1024 units with batch norm are the paper's. ŷ has no bias.

    NOTE: all embeddings have K numbers. The paper's have 6 · (size of the field)^¼.
    """

    family = "crosses"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 256,
        num_cross_layers: int = 6,
        hidden_dims: Sequence[int] = (1024, 1024),
        mlp_dropout: float = 0.0,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        positive(num_cross_layers=num_cross_layers, len_hidden_dims=len(hidden_dims))
        d = len(field_dims) * embed_dim
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.w = nn.Parameter(torch.randn(num_cross_layers, d) * d**-0.5)
        self.b = nn.Parameter(torch.zeros(num_cross_layers, d))
        self.deep = mlp(d, hidden_dims, mlp_dropout, batch_norm)[:-1]  # without the last unit
        self.w_logits = nn.Linear(d + hidden_dims[-1], 1, bias=False)

    def forward(self, batch: Batch) -> Tensor:
        x_0 = x_l = written_out(self.embedding(batch)).flatten(1)  # [batch, d]
        for w_l, b_l in zip(self.w, self.b, strict=True):
            x_l = x_0 * (x_l @ w_l)[:, None] + b_l + x_l
        return self.w_logits(torch.cat([x_l, self.deep(x_0)], dim=1)).squeeze(-1)
