"""Define Wukong, stacked factorization machines (Zhang et al., ICML 2024)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, written_out
from models.layers.networks import mlp
from models.registry import register_model


@register_model
class Wukong(nn.Module):
    """Stack layers that compute inner products of vectors and make new vectors of them.

    X_0 has the embeddings V_i x_i in its rows. A layer is X_{l+1} = LN([FMB(X_l); LCB(X_l)] + R_l X_l), where LCB(X) =
    W_L X makes `num_linear` rows (linear compression), and FMB(X) = reshape(relu(MLP(LN(flatten(X Xᵀ Y))))) makes
    `num_products` rows from inner products, with Y of rank `fm_rank`. R_l is a linear map of rows, with biases, where
    X_l has another number of rows than X_{l+1}; otherwise the identity. ŷ = MLP(flatten(X_L)). Sources: Zhang et al.
    2024, section on the interaction stack; FuxiCTR's `model_zoo/WuKong`. Embeddings start at N(0, 0.01²), Y at N(0, 1),
    all other weights at torch's initial values.

    NOTE: Y is free, as in FuxiCTR; the paper also computes it from X. The paper's tables do not give the sizes for
    Frappe: these are FuxiCTR's defaults with fewer rows.
    """

    family = "crosses"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 16,
        num_layers: int = 3,
        num_linear: int = 8,
        num_products: int = 8,
        fm_rank: int = 8,
        fm_hidden_dims: Sequence[int] = (32, 32),
        hidden_dims: Sequence[int] = (32, 32),
        mlp_dropout: float = 0.0,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        positive(num_layers=num_layers, num_linear=num_linear, num_products=num_products, fm_rank=fm_rank)
        n, rows = len(field_dims), num_linear + num_products
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.layers = nn.Sequential(
            *(
                WukongLayer(
                    rows if layer else n, num_linear, num_products, embed_dim, fm_rank, fm_hidden_dims, mlp_dropout
                )
                for layer in range(num_layers)
            )
        )
        self.mlp = mlp(rows * embed_dim, hidden_dims, mlp_dropout, batch_norm)

    def forward(self, batch: Batch) -> Tensor:
        X_0 = written_out(self.embedding(batch))  # [batch, n, K]
        return self.mlp(self.layers(X_0).flatten(1)).squeeze(-1)


class WukongLayer(nn.Module):
    """Compute LN([FMB(X); LCB(X)] + R X). Shape: `[batch, rows, K]` → `[batch, new rows, K]`."""

    def __init__(
        self,
        num_rows: int,
        num_linear: int,
        num_products: int,
        embed_dim: int,
        rank: int,
        hidden_dims: Sequence[int],
        dropout: float,
    ) -> None:
        super().__init__()
        self.Y = nn.Parameter(torch.randn(num_rows, rank))
        self.norm_products = nn.LayerNorm(num_rows * rank)
        self.mlp = mlp(num_rows * rank, hidden_dims, dropout, output_dim=num_products * embed_dim)
        self.W_L = nn.Linear(num_rows, num_linear, bias=False)
        new_rows = num_linear + num_products
        self.R = nn.Identity() if num_rows == new_rows else nn.Linear(num_rows, new_rows)
        self.norm = nn.LayerNorm(embed_dim)

    def forward(self, X: Tensor) -> Tensor:
        products = X @ (X.mT @ self.Y)  # X Xᵀ Y, [batch, rows, rank]
        FMB = torch.relu(self.mlp(self.norm_products(products.flatten(1)))).unflatten(1, (-1, X.shape[2]))
        LCB = self.W_L(X.mT).mT
        return self.norm(torch.cat([FMB, LCB], dim=1) + self.R(X.mT).mT)
