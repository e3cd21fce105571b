"""Define QNN-α, a network of quadratic layers (Li et al., KDD 2025)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, written_out
from models.layers.networks import Dropout, Linear
from models.registry import register_model


@register_model
class QuadraticNN(nn.Module):
    """Multiply each layer's input by a sum of hidden layers of it.

    ŷ = wᵀ x_L + b, x_{l+1} = x_l ⊙ Σ_r relu(BN(W_r x_l + b_r)) + x_l with x_0 = [V_1 x_1 … V_n x_n]. The sum over the
    `num_rows` rows r is the paper's Khatri–Rao product of x_l and the rows, summed; each layer has its own W, b.
    Dropout is on the rows and on x_{l+1}. Sources: Li et al. 2025, the authors' repository QNN (`QNN_T26`) and
    FuxiCTR's `model_zoo/QNN`; the sizes are those of the authors' log on Frappe. V starts at N(0, 0.01²), all other
    weights at torch's initial values.

    NOTE: the authors' loss also makes two passes with other dropouts agree; here the loss is on ŷ of one pass. Their
    code may split x_l into heads, and has one on Frappe, as here.
    """

    family = "crosses"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 16,
        num_layers: int = 2,
        num_rows: int = 13,
        mlp_dropout: float = 0.1,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        positive(num_layers=num_layers, num_rows=num_rows)
        d = len(field_dims) * embed_dim
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.W = nn.ModuleList(Linear(d, num_rows * d) for _ in range(num_layers))
        self.norm = nn.ModuleList(
            nn.BatchNorm1d(num_rows * d) if batch_norm else nn.Identity() for _ in range(num_layers)
        )
        self.dropout = Dropout(mlp_dropout)
        self.w = nn.Linear(d, 1)

    def forward(self, batch: Batch) -> Tensor:
        x_l = written_out(self.embedding(batch)).flatten(1)  # [batch, d]
        for W_l, norm in zip(self.W, self.norm, strict=True):
            rows = self.dropout(torch.relu(norm(W_l(x_l)))).unflatten(1, (-1, x_l.shape[1]))  # [batch, rows, d]
            x_l = self.dropout(x_l * rows.sum(1) + x_l)
        return self.w(x_l).squeeze(-1)
