"""Define MaskNet, layers that the row's embeddings mask (Wang, She and Zhang, DLP-KDD 2021)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, written_out
from models.layers.networks import Dropout, Linear, mlp
from models.registry import register_model


@register_model
class MaskNet(nn.Module):
    """Multiply layers by masks that are computed from the embeddings.

    A mask block maps v to relu(LN(W (m(e) ⊙ v))) with the mask m(e) = W_2 relu(W_1 e + b_1) + b_2 of the embeddings e =
    [V_1 x_1 … V_n x_n]; W_1 has `reduction_ratio` units for each number of v. The first v is e with each field's
    embedding layer-normalised. With `structure` parallel, `num_blocks` blocks of `block_dim` units each see the first
    v, and an MLP with ReLU sees what they all give; with serial, each block sees what the block before gives, and ŷ is
    linear in the last one. Sources: Wang et al. 2021, MaskBlock, parallel and serial MaskNet; FuxiCTR's
    `model_zoo/MaskNet`, with the sizes that BARS (Zhu et al. 2022) found for Frappe. Embeddings start at N(0, 0.01²),
    all other weights at torch's initial values.

    NOTE: in BARS's setting on Frappe the first v is e, without layer norm. `hidden_dims` are the MLP's layers in the
    parallel form, and the blocks' units in the serial one.
    """

    family = "deep"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 10,
        structure: Literal["parallel", "serial"] = "parallel",
        num_blocks: int = 3,
        block_dim: int = 50,
        reduction_ratio: float = 2.0,
        hidden_dims: Sequence[int] = (400, 400, 400),
        mlp_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        positive(num_blocks=num_blocks, block_dim=block_dim, len_hidden_dims=len(hidden_dims))
        positive(reduction_ratio=reduction_ratio)
        n, d = len(field_dims), len(field_dims) * embed_dim
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.gain, self.shift = nn.Parameter(torch.ones(n, embed_dim)), nn.Parameter(torch.zeros(n, embed_dim))
        self.parallel = structure == "parallel"
        sizes = (
            [(d, block_dim)] * num_blocks
            if self.parallel
            else list(zip((d, *hidden_dims[:-1]), hidden_dims, strict=True))
        )
        self.blocks = nn.ModuleList(MaskBlock(d, *size, reduction_ratio, mlp_dropout) for size in sizes)
        last = num_blocks * block_dim if self.parallel else hidden_dims[-1]
        self.mlp = mlp(last, hidden_dims if self.parallel else (), mlp_dropout)

    def forward(self, batch: Batch) -> Tensor:
        V = written_out(self.embedding(batch))  # [batch, n, K]
        e = V.flatten(1)
        v = (nn.functional.layer_norm(V, V.shape[2:]) * self.gain + self.shift).flatten(1)
        if self.parallel:
            return self.mlp(torch.cat([block(e, v) for block in self.blocks], dim=1)).squeeze(-1)
        for block in self.blocks:
            v = block(e, v)
        return self.mlp(v).squeeze(-1)


class MaskBlock(nn.Module):
    """Compute relu(LN(W (m(e) ⊙ v))). Shape: e `[batch, d]`, v `[batch, inputs]` → `[batch, units]`."""

    def __init__(self, d: int, input_dim: int, units: int, reduction_ratio: float, dropout: float) -> None:
        super().__init__()
        positive(hidden_dims=units)
        hidden_dim = max(1, int(input_dim * reduction_ratio))
        self.mask = nn.Sequential(Linear(d, hidden_dim), nn.ReLU(), Linear(hidden_dim, input_dim))
        self.W = nn.Linear(input_dim, units, bias=False)
        self.norm = nn.LayerNorm(units)
        self.dropout = Dropout(dropout)

    def forward(self, e: Tensor, v: Tensor) -> Tensor:
        return self.dropout(torch.relu(self.norm(self.W(self.mask(e) * v))))
