"""Hold tables of weights: one row for each feature, of which a batch uses few."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.kernels import features
from models.kernels.features import Embeddings
from models.layers.batch import Batch
from models.layers.checks import positive


class Table(nn.Module):
    """Hold one row of weights for each feature.

    Read the rows only through `touched`, `rows` or `state_dict`. `role` names the rows' L2 weight. An optimizer that
    delays updates of rows sets `late`; `late.settle(weight, ids)` applies the delayed updates of some rows before they
    are read.
    """

    role = "embedding"
    late: Any = None

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.register_state_dict_pre_hook(settle_before)

    def settle(self, ids: Tensor | None = None) -> None:
        """Apply the optimizer's delayed updates of some rows, or of all (None)."""
        if self.late is not None:
            every = torch.arange(len(self.weight), device=self.weight.device) if ids is None else ids
            self.late.settle(self.weight, every)

    def touched(self, batch: Batch) -> Embeddings:
        """Return the rows of the features that occur in a batch, with their places."""
        if batch.lists:
            self.settle(batch.lists.features)
            rows = features.touched_rows(self.weight, batch.lists.features)
            return Embeddings(batch.lists.join(rows), batch.where)
        self.settle(batch.where.ids)
        return Embeddings(None, batch.where, self.weight)

    def rows(self, batch: Batch) -> Tensor:
        """Return the row of each feature of a batch: `[m, …]` → `[batch, n, …]`."""
        if batch.kernels:
            return written_out(self.touched(batch))
        # Not weight[ids]: with two threads, its gradient differs from run to run.
        weight = self.weight.flatten(1) if self.weight.dim() > 1 else self.weight[:, None]
        if batch.bags:  # the mean of each list stands below the rows of the features
            bags = batch.bags
            means = nn.functional.embedding_bag(bags.elements.long(), weight, bags.offsets[:-1], mode="mean")
            weight = torch.cat([weight[: bags.first], means])
        rows = nn.functional.embedding(batch.ids, weight)
        if batch.padded:
            rows = batch.padded.put(rows, weight)
        return rows.view(*batch.ids.shape, *self.weight.shape[1:])


def settle_before(table: Any, prefix: str, keep_vars: bool) -> None:
    """Settle a table before its `state_dict` is made."""
    table.settle()


def settle(model: nn.Module) -> None:
    """Apply the optimizer's delayed updates of all tables of a model."""
    for table in tables(model):
        table.settle()


def tables(model: nn.Module) -> list[Table]:
    return [module for module in model.modules() if isinstance(module, Table)]


class LinearTerms(Table):
    """Compute the first-order part w_0 + Σ_i w_i x_i (Rendle 2010, eq. 1).

    Both w_0 and w start at zero. Shape: → `[batch]`.
    """

    role = "linear"

    def __init__(self, field_dims: Sequence[int]) -> None:
        super().__init__(torch.zeros(sum(field_dims)))
        self.bias = nn.Parameter(torch.zeros(()))

    def terms(self, batch: Batch) -> Tensor:
        """Return the terms w_i x_i, `[batch, n]`."""
        weight = self.rows(batch)
        return weight if batch.values is None else weight * batch.values

    def forward(self, batch: Batch) -> Tensor:
        if batch.by_feature:
            return self.bias + features.sum_terms(self.touched(batch))
        return self.bias + self.terms(batch).sum(-1)


class FeatureEmbedding(Table):
    """Embed each feature: V_i x_i, one K-vector for each feature.

    V is drawn from N(0, 0.01²). Shape: → `[batch, n, K]`.
    """

    def __init__(self, field_dims: Sequence[int], embed_dim: int) -> None:
        positive(embed_dim=embed_dim)
        super().__init__(torch.randn(sum(field_dims), embed_dim) * 0.01)

    def forward(self, batch: Batch) -> Tensor | Embeddings:
        """Return the vectors; each distinct feature's once where `Batch.by_feature` says so."""
        if batch.by_feature:
            return self.touched(batch)
        V = self.rows(batch)
        return V if batch.values is None else V * batch.values[..., None]


class FieldAwareEmbedding(Table):
    """Embed each feature once for each field f: V_{i,f} x_i (Juan et al. 2016).

    Each feature has n K-vectors, one for each field that it meets. V is drawn from N(0, 0.01²).
    Shape: → `[batch, n, n, K]`, in which [:, i, j] is V_{i,f_j} x_i.
    """

    def __init__(self, field_dims: Sequence[int], embed_dim: int) -> None:
        positive(embed_dim=embed_dim)
        super().__init__(torch.randn(sum(field_dims), len(field_dims) * embed_dim) * 0.01)
        self.num_fields, self.embed_dim = len(field_dims), embed_dim

    def forward(self, batch: Batch) -> Tensor | Embeddings:
        """Return the vectors as `FeatureEmbedding.forward` does."""
        by_field = (self.num_fields, self.embed_dim)
        if batch.by_feature:
            return self.touched(batch).shaped(*by_field)
        V = self.rows(batch)
        return (V if batch.values is None else V * batch.values[..., None]).unflatten(-1, by_field)


def written_out(V: Tensor | Embeddings) -> Tensor:
    """Write the embeddings out at their places, `[batch, n, K]`."""
    return features.spread(V.table, V.where) if isinstance(V, Embeddings) else V
