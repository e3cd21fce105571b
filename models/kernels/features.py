"""Compute with each distinct feature of a batch once, and sum gradients by feature.

A batch of 4096 rows of ten fields has few distinct features, and few distinct pairs of features. So the embeddings of a
batch are kept as `Embeddings`: a table with a row for each feature that occurs, and its places. Interactions are
computed once for each distinct pair (`models.kernels.pairs`). The gradient of a table of weights is sparse: it has the
rows that occur. The loops are compiled (`models.kernels.loops`). A GPU only takes `touched_rows` and `spread`.

Each function has a plain equal in `models.layers`. Shapes: batch rows, n fields, u features that occur, K embed_dim.
"""

# pyright: reportIncompatibleMethodOverride=false
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable
from torch.nn.functional import embedding_bag

from models.kernels.calls import call, in_parts, loops
from models.kernels.occurrences import Occurrences


def touched_rows(weight: Tensor, ids: Tensor) -> Tensor:
    """Gather weight[ids] for distinct ids, with a sparse gradient of these rows."""
    return TouchedRows.apply(weight, ids)  # type: ignore[no-any-return]


class TouchedRows(Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, ids: Tensor) -> Tensor:
        ctx.ids, ctx.shape = ids, weight.shape
        if ids.device.type != "cpu":
            return weight.index_select(0, ids)
        rows = weight.new_empty(len(ids), *weight.shape[1:])
        size = weight[0].numel()
        in_parts(loops().gather, len(ids), rows.numel(), weight.view(-1, size), ids, rows.view(-1, size))
        return rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradient_of(ctx.shape, ctx.ids, gradients[0]), None


class Embeddings:
    """Hold the embeddings of a batch, each feature's once.

    `table` is `[u, K]`, or `[u, n, K]` if a feature has a vector for each field. `where` has the places of its rows.
    With `weight` `[m, …]`, the table is its rows of `where.ids`, and is made when it is first asked for. `shape` is
    that of a row, if it is not weight's.
    """

    def __init__(
        self, table: Tensor | None, where: Occurrences, weight: Tensor | None = None, shape: Sequence[int] = ()
    ) -> None:
        self.where, self.weight, self.shape, self.made = where, weight, shape, table

    @property
    def table(self) -> Tensor:
        if self.made is None:
            assert self.weight is not None
            self.made = self.in_shape(touched_rows(self.weight, self.where.ids))
        return self.made

    @property
    def field_aware(self) -> bool:
        """Tell whether a feature has a vector for each field."""
        return len(self.shape) > 1 or (self.made is not None and self.made.dim() == 3)

    def in_shape(self, rows: Tensor) -> Tensor:
        return rows.unflatten(-1, self.shape) if self.shape else rows

    def shaped(self, *shape: int) -> "Embeddings":
        """Give each row a shape."""
        made = None if self.made is None else self.made.unflatten(-1, shape)
        return Embeddings(made, self.where, self.weight, shape)

    @property
    def source(self) -> tuple[Tensor, Tensor | None]:
        """Return a tensor with the embeddings, and which of its rows they are (None: all)."""
        return (self.table, None) if self.weight is None else (self.weight, self.where.ids)


def gradient_of(shape: torch.Size, rows: Tensor | None, values: Tensor) -> Tensor:
    """Make the gradient of a weight from that of its rows (None: all)."""
    if rows is None:
        return values.view(shape)
    values = values.view(len(rows), *shape[1:])
    return torch.sparse_coo_tensor(rows[None], values, shape, is_coalesced=True, check_invariants=False)


def spread(table: Tensor, where: Occurrences) -> Tensor:
    """Copy each row to its places: `[u, …]` → `[batch, n, …]`."""
    return Spread.apply(table, where)  # type: ignore[no-any-return]


class Spread(Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, where: Occurrences) -> Tensor:
        ctx.where = where
        return table.index_select(0, where.index.flatten()).view(*where.index.shape, *table.shape[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        values = gradients[0].reshape(ctx.where.index.numel(), -1)
        return ctx.where.places.sum(values).view(-1, *gradients[0].shape[2:]), None


def field_sum(table: Tensor, where: Occurrences) -> Tensor:
    """Sum rows over the fields: `[u, K]` → `[batch, K]`."""
    return FieldSum.apply(table, where)  # type: ignore[no-any-return]


class FieldSum(Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, where: Occurrences) -> Tensor:
        ctx.where = where
        return embedding_bag(where.index, table, mode="sum")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.where.rows.sum(gradients[0].contiguous()), None


def sum_terms(w: Embeddings) -> Tensor:
    """Sum one number for each feature over the features of each row: `[u]` → `[batch]`."""
    return SumTerms.apply(*w.source, w.where)  # type: ignore[no-any-return]


class SumTerms(Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: Tensor | None, where: Occurrences) -> Tensor:
        ctx.shape, ctx.rows, ctx.where = weight.shape, rows, where
        out = weight.new_empty(len(where.index))
        call(loops().sum_terms, weight, or_all(rows, weight), where.index, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        grad, where = gradients[0].contiguous(), ctx.where
        out = grad.new_empty(len(where.ids))
        call(loops().sum_terms_gradient, grad, *where.places, where.index.shape[1], out)
        return gradient_of(ctx.shape, ctx.rows, out), None, None


def or_all(rows: Tensor | None, weight: Tensor) -> Tensor:
    return torch.arange(len(weight)) if rows is None else rows


def bi_interaction(V: Embeddings) -> Tensor:
    """Compute ½ [(Σ_i V_i)² − Σ_i V_i²]: `[u, K]` → `[batch, K]`."""
    return BiInteraction.apply(V.table, V.where)  # type: ignore[no-any-return]


class BiInteraction(Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, where: Occurrences) -> Tensor:
        (batch, n), K = where.index.shape, table.shape[1]
        total, out = table.new_empty(batch, K), table.new_empty(batch, K)
        in_parts(loops().bi_interaction, batch, batch * n * K, table, where.index, total, out)
        ctx.where = where
        ctx.save_for_backward(table, total)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (table, total), (order, offsets), n = ctx.saved_tensors, ctx.where.places, ctx.where.index.shape[1]
        grad = gradients[0] if gradients[0].stride(1) else gradients[0][:, :1]  # the same for all k
        out, size = torch.empty_like(table), len(order) * table.shape[1]
        arguments = table, total, grad.contiguous(), order, offsets, n, out
        in_parts(loops().bi_interaction_gradient, len(table), size, *arguments, offsets=offsets)
        return out, None
