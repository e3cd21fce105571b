"""Define FinalMLP, two gated MLPs with a bilinear fusion (Mao et al., AAAI 2023)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, written_out
from models.layers.fields import ITEM, USER
from models.layers.networks import hidden_layers, mlp
from models.registry import register_model


@register_model
class FinalMLP(nn.Module):
    """Fuse two MLPs, each on embeddings that its own gate weighs.

    With e = [V_1 x_1 … V_n x_n], stream s has o_s = MLP_s(2σ(g_s(c_s)) ⊙ e), where the gate g_s is an MLP on a context
    c_s. The context of stream 1 is the user and of stream 2 the item, each in a table of the gate's own; without such a
    field, or without `context_fields`, c_s is a vector that is learnt. The fusion is bilinear in k = `num_heads` heads,
    parts of o_1 and o_2: ŷ = b + w_1ᵀ o_1 + w_2ᵀ o_2 + Σ_{j=1}^k o_{1j}ᵀ W_{3j} o_{2j}. `fields` names the fields of
    the data; None takes the first two as user and item. Sources: Mao et al. 2023, sections on stream-specific feature
    selection and stream-level interaction aggregation, and the authors' code, FuxiCTR's `model_zoo/FinalMLP`; sizes are
    theirs for Frappe. Embeddings start at N(0, 0.01²), W_3 as Xavier's normal, a learnt c_s at zero, all other weights
    at torch's initial values.

    NOTE: the code has two biases in the fusion; their sum is b.
    """

    family = "deep"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 10,
        hidden_dims: Sequence[int] = (400,),
        hidden_dims_2: Sequence[int] = (100,),
        mlp_dropout: float = 0.4,
        batch_norm: bool = True,
        gate_hidden_dims: Sequence[int] = (400,),
        context_fields: bool = True,
        num_heads: int = 5,
        fields: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        positive(num_heads=num_heads, len_hidden_dims=len(hidden_dims), len_hidden_dims_2=len(hidden_dims_2))
        units = hidden_dims[-1], hidden_dims_2[-1]
        if units[0] % num_heads or units[1] % num_heads:
            raise ValueError(
                f"num_heads must divide the last hidden layers, {units[0]} and {units[1]}, got {num_heads}"
            )
        d, names = len(field_dims) * embed_dim, list(fields or ("user", "item"))[: len(field_dims)]
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.gate = nn.ModuleList(
            ContextGate(
                field_dims,
                next((names.index(name) for name in choice if name in names and context_fields), None),
                embed_dim,
                gate_hidden_dims,
            )
            for choice in (USER, ITEM)
        )
        self.mlp = nn.ModuleList(
            hidden_layers(d, dims, mlp_dropout, batch_norm) for dims in (hidden_dims, hidden_dims_2)
        )
        self.w = nn.Linear(sum(units), 1)  # w_1, w_2 and b
        size = num_heads, units[0] // num_heads, units[1] // num_heads
        self.W_3 = nn.Parameter(torch.randn(size) * (2 / (size[0] * size[1] * size[2] + 1)) ** 0.5)

    def forward(self, batch: Batch) -> Tensor:
        e = written_out(self.embedding(batch)).flatten(1)  # [batch, d]
        o_1, o_2 = (mlp(gate(batch) * e) for mlp, gate in zip(self.mlp, self.gate, strict=True))
        heads = len(self.W_3)
        o_1j, o_2j = o_1.unflatten(1, (heads, -1)), o_2.unflatten(1, (heads, -1))
        fused = (torch.einsum("bhx,hxy->bhy", o_1j, self.W_3) * o_2j).sum((1, 2))
        return self.w(torch.cat([o_1, o_2], dim=1)).squeeze(-1) + fused


class ContextGate(nn.Module):
    """Compute 2σ(MLP(c)), a weight for each number of the embeddings.

    c is the embedding of one field in a table of its own, or a vector that is learnt (column None). Shape: → `[batch,
    d]`, or `[1, d]` if c is learnt.
    """

    def __init__(
        self, field_dims: Sequence[int], column: int | None, embed_dim: int, hidden_dims: Sequence[int]
    ) -> None:
        super().__init__()
        self.column, self.shift = column, sum(field_dims[: column or 0])
        if column is None:
            self.c = nn.Parameter(torch.zeros(1, embed_dim))
        else:
            self.context = FeatureEmbedding(field_dims[column : column + 1], embed_dim)
        self.mlp = mlp(embed_dim, hidden_dims, output_dim=len(field_dims) * embed_dim)

    def forward(self, batch: Batch) -> Tensor:
        if self.column is None:
            return 2 * torch.sigmoid(self.mlp(self.c))
        c = written_out(self.context(batch.columns([self.column], self.shift)))[:, 0]
        return 2 * torch.sigmoid(self.mlp(c))
