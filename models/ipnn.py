"""Define the inner product-based neural network (Qu et al., ICDM 2016)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, written_out
from models.layers.networks import ConcatenatedLinear, Dropout, mlp
from models.layers.products import InnerProducts
from models.registry import register_model


@register_model
class InnerProductNN(nn.Module):
    """Feed embeddings and their inner products to an MLP.

    ŷ = W_3 l_2 + b_3, l_2 = relu(W_2 l_1 + b_2), l_1 = relu(l_z + l_p + b_1) (Qu et al. 2016, eq. 1–3).
    l_z = W_z [f_1 … f_n] is linear in the embeddings f_i = V_i x_i. l_p weighs their inner products ⟨f_i, f_j⟩,
    including i = j, by W_p^n = θ^n θ^nᵀ. `hidden_dims` starts with D_1, the size of l_1. W_z and all biases have
    torch's initial values.

    NOTE: the paper has three hidden layers and does not give their size; its code has 100 units.
    """

    family = "deep"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 256,
        hidden_dims: Sequence[int] = (100, 100, 100),
        mlp_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        positive(len_hidden_dims=len(hidden_dims))
        n, D_1 = len(field_dims), hidden_dims[0]
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.inner = InnerProducts(n, D_1)
        self.l_z = ConcatenatedLinear(n * embed_dim, D_1)  # with b_1
        self.dropout = Dropout(mlp_dropout)
        self.mlp = mlp(D_1, hidden_dims[1:], mlp_dropout)

    def forward(self, batch: Batch) -> Tensor:
        V = self.embedding(batch)
        f = written_out(V)  # [batch, n, K]
        l_1 = torch.relu(self.l_z(V) + self.inner(f))  # [batch, D_1]
        return self.mlp(self.dropout(l_1)).squeeze(-1)
