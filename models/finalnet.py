"""Define FinalNet, layers that multiply what they compute (Zhu et al., SIGIR 2023)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, written_out
from models.layers.networks import Dropout, Linear
from models.registry import register_model


@register_model
class FinalNet(nn.Module):
    """Average two stacks of factorized interaction layers on the embeddings.

    ŷ = ½ (w_aᵀ a_L + b_a + w_bᵀ b_L' + b_b). A layer of a stack is x_l = dropout(relu(BN([h, h ⊙ g]))), with h and g
    the halves of W_l x_{l−1} + b_l, so that the degree doubles with each layer. The second stack starts at e = [V_1 x_1
    … V_n x_n], the first one at [e, e'], where e' has the embedding of field i times a gate for each number: e'_ik =
    (Σ_j G_ij e_jk + c_i) e_ik. Without `field_gate` it starts at e, and with one block only, ŷ = w_aᵀ a_L + b_a.
    Sources: Zhu et al. 2023 (FINAL) and the authors' code, FuxiCTR's `model_zoo/FinalNet`; sizes are theirs for Frappe.
    Embeddings start at N(0, 0.01²), G at zero, c at one, all other weights at torch's initial values.

    NOTE: the authors also train each block to predict ŷ (self-distillation). Here the loss is on ŷ alone. If a layer
    has an odd size, the last of its h has no g.
    """

    family = "deep"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 10,
        hidden_dims: Sequence[int] = (400, 400),
        hidden_dims_2: Sequence[int] = (400,),
        two_blocks: bool = True,
        field_gate: bool = True,
        mlp_dropout: float = 0.1,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        n, d = len(field_dims), len(field_dims) * embed_dim
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.gate = nn.Linear(n, n) if field_gate else None  # G and c
        if self.gate is not None:
            nn.init.zeros_(self.gate.weight)
            nn.init.ones_(self.gate.bias)
        self.block_a = block(2 * d if field_gate else d, hidden_dims, mlp_dropout, batch_norm)
        self.block_b = block(d, hidden_dims_2, mlp_dropout, batch_norm) if two_blocks else None

    def forward(self, batch: Batch) -> Tensor:
        V = written_out(self.embedding(batch))  # [batch, n, K]
        e = V.flatten(1)
        gated = e if self.gate is None else torch.cat([e, (self.gate(V.mT).mT * V).flatten(1)], dim=1)
        y_a = self.block_a(gated)
        return (y_a if self.block_b is None else (y_a + self.block_b(e)) / 2).squeeze(-1)


class FactorizedInteraction(nn.Module):
    """Compute [h, h ⊙ g] with the halves of a layer, W x + b.

    Shape: `[batch, inputs]` → `[batch, units]`.
    """

    def __init__(self, input_dim: int, units: int) -> None:
        super().__init__()
        self.linear, self.sizes = Linear(input_dim, units), [units - units // 2, units // 2]

    def forward(self, x: Tensor) -> Tensor:
        h, g = self.linear(x).split(self.sizes, dim=1)
        return torch.cat([h, h[:, : self.sizes[1]] * g], dim=1)


def block(input_dim: int, hidden_dims: Sequence[int], dropout: float, batch_norm: bool) -> nn.Sequential:
    """Stack factorized interaction layers, then one linear unit."""
    positive(len_hidden_dims=len(hidden_dims))
    layers: list[nn.Module] = []
    for hidden_dim in hidden_dims:
        positive(hidden_dims=hidden_dim)
        layers += [FactorizedInteraction(input_dim, hidden_dim)]
        layers += [nn.BatchNorm1d(hidden_dim)] if batch_norm else []
        layers += [nn.ReLU()] + ([Dropout(dropout)] if dropout else [])
        input_dim = hidden_dim
    return nn.Sequential(*layers, nn.Linear(input_dim, 1))
