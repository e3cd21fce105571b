"""Hold one row of weights a feature, of which a batch touches a few."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.kernels import features
from models.kernels.features import Embeddings
from models.layers.batch import Batch
from models.layers.checks import positive


class Table(nn.Module):
    """A row of weights a feature. All reading goes through `touched`, `rows` or `state_dict`.

    `role` names the L2 weight of the rows. `late` is set by an optimizer that updates rows late: its `settle(weight,
    ids)` makes up for what it owes to some rows, and is called before these are read.
    """

    role = "embedding"
    late: Any = None

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.register_state_dict_pre_hook(settle_before)

    def settle(self, ids: Tensor | None = None) -> None:
        """Have the optimizer do what it owes to some rows, None for all."""
        if self.late is not None:
            every = torch.arange(len(self.weight), device=self.weight.device) if ids is None else ids
            self.late.settle(self.weight, every)

    def touched(self, batch: Batch) -> Embeddings:
        """The rows of the features that occur in a batch, and where they do."""
        self.settle(batch.where.ids)
        return Embeddings(features.touched_rows(self.weight, batch.where.ids), batch.where)

    def rows(self, batch: Batch) -> Tensor:
        """The row of each feature of a batch: `[m, …]` → `[batch, n, …]`."""
        if batch.kernels:
            return features.spread(*self.touched(batch))
        # Not weight[ids], whose gradient differs from run to run with two threads.
        weight = self.weight.flatten(1) if self.weight.dim() > 1 else self.weight[:, None]
        return nn.functional.embedding(batch.ids, weight).view(*batch.ids.shape, *self.weight.shape[1:])


def settle_before(table: Any, prefix: str, keep_vars: bool) -> None:
    """Settle a table before its `state_dict` is made."""
    table.settle()


def settle(model: nn.Module) -> None:
    """Have the optimizer do all that it owes to the tables of a model."""
    for table in tables(model):
        table.settle()


def tables(model: nn.Module) -> list[Table]:
    return [module for module in model.modules() if isinstance(module, Table)]


class LinearTerms(Table):
    """w_0 + Σ_i w_i x_i, the first-order part of Rendle 2010 (eq. 1). Starts at zero. Shape: → `[batch]`."""

    role = "linear"

    def __init__(self, field_dims: Sequence[int]) -> None:
        super().__init__(torch.zeros(sum(field_dims)))
        self.bias = nn.Parameter(torch.zeros(()))

    def terms(self, batch: Batch) -> Tensor:
        """The w_i x_i, `[batch, n]`."""
        weight = self.rows(batch)
        return weight if batch.values is None else weight * batch.values

    def forward(self, batch: Batch) -> Tensor:
        if batch.kernels and batch.values is None:
            return self.bias + features.field_sum(*self.touched(batch))
        return self.bias + self.terms(batch).sum(-1)


class FeatureEmbedding(Table):
    """V_i x_i: one K-vector a feature, drawn from N(0, 0.01²).

    Shape: → `[batch, n, K]`.
    """

    def __init__(self, field_dims: Sequence[int], embed_dim: int) -> None:
        positive(embed_dim=embed_dim)
        super().__init__(torch.randn(sum(field_dims), embed_dim) * 0.01)

    def forward(self, batch: Batch) -> Tensor | Embeddings:
        """The vectors, each feature's once where kernels can take them so: with values, x_i V_i differs by row."""
        if batch.kernels and batch.values is None:
            return self.touched(batch)
        V = self.rows(batch)
        return V if batch.values is None else V * batch.values[..., None]


class FieldAwareEmbedding(Table):
    """V_{i,f} x_i: n K-vectors a feature, one for each field f it meets (Juan et al. 2016), drawn from N(0, 0.01²).

    Shape: → `[batch, n, n, K]`, in which [:, i, j] is V_{i,f_j} x_i.
    """

    def __init__(self, field_dims: Sequence[int], embed_dim: int) -> None:
        positive(embed_dim=embed_dim)
        super().__init__(torch.randn(sum(field_dims), len(field_dims) * embed_dim) * 0.01)
        self.num_fields, self.embed_dim = len(field_dims), embed_dim

    def forward(self, batch: Batch) -> Tensor | Embeddings:
        """As `FeatureEmbedding.forward`."""
        by_field = (self.num_fields, self.embed_dim)
        if batch.kernels and batch.values is None:
            V, where = self.touched(batch)
            return Embeddings(V.unflatten(-1, by_field), where)
        V = self.rows(batch)
        return (V if batch.values is None else V * batch.values[..., None]).unflatten(-1, by_field)


def written_out(V: Tensor | Embeddings) -> Tensor:
    """The embeddings at their places, `[batch, n, K]`."""
    return features.spread(V.table, V.where) if isinstance(V, Embeddings) else V
