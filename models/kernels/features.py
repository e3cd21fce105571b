"""Compute with each distinct feature of a batch once, and sum gradients by feature.

A batch of 4096 rows of ten fields has few distinct features, and few distinct pairs of features. So the embeddings of a
batch are kept as `Embeddings`: a table with a row for each feature that occurs, and its places. Interactions are
computed once for each distinct pair (`models.kernels.pairs`). The gradient of a table of weights is sparse: it has the
rows that occur. The loops are compiled (`models.kernels.loops`). A GPU only takes `touched_rows` and `spread`.

Each function has a plain equal in `models.layers`. Shapes: batch rows, n fields, u features that occur, K embed_dim.
"""

# pyright: reportIncompatibleMethodOverride=false
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable
from torch.nn.functional import embedding_bag

from models.kernels.calls import call, in_parts, loops

COUNTED = 256  # the bound of values that are counted, for each value; sorting takes less time above it


class Groups(NamedTuple):
    """Hold places sorted by group.

    `order` [places] has the places; `offsets` [groups] says where each group starts in it.
    """

    order: Tensor
    offsets: Tensor

    def sum(self, values: Tensor) -> Tensor:
        """Sum the values `[places, K]` of each group, `[groups, K]`."""
        return embedding_bag(self.order, values, self.offsets, mode="sum")


def grouped(values: Tensor) -> tuple[Tensor, Tensor, Groups]:
    """Find the distinct values and the places of each.

    Returns the distinct values, ascending; the index of each value into them; and the flattened places by distinct
    value. Values are not negative. They are counted if none is very large, else sorted.
    """
    if values.device.type == "cpu" and values.numel():
        flat = values.flatten().numpy()
        bound = int(flat.max()) + 1
        if bound <= COUNTED * (len(flat) + COUNTED):
            distinct, index, order, offsets = map(torch.from_numpy, loops().group(flat, bound))
            return distinct, index.view(values.shape), Groups(order, offsets)
    in_order, order = values.flatten().sort(stable=True)
    distinct, group, counts = torch.unique_consecutive(in_order, return_inverse=True, return_counts=True)
    index = torch.empty_like(group).scatter_(0, order, group).view(values.shape)
    return distinct.long(), index, Groups(order, counts.cumsum(0) - counts)


class Occurrences:
    """Hold which features occur in a batch, and where.

    `ids` `[u]` are the features, ascending. `index` `[batch, n]` points into `ids`. `places` are the places of the
    flattened `index`, by feature.
    """

    def __init__(self, ids: Tensor, index: Tensor, places: Groups) -> None:
        self.ids, self.index, self.places = ids, index, places
        self.pairs: dict[Any, Any] = {}  # cache of `models.kernels.distinct_pairs`

    @cached_property
    def rows(self) -> Groups:
        """Group the rows of the batch by feature."""
        return Groups(self.places.order // self.index.shape[1], self.places.offsets)

    @cached_property
    def num_features(self) -> list[int] | None:
        """Count each field's features, if these follow each other in `ids`, field by field; else None."""
        low, high = (bounds.tolist() for bounds in self.index.aminmax(dim=0))
        starts = [high + 1 for high in high]
        return [stop - start for start, stop in zip(low, starts, strict=True)] if low == [0, *starts[:-1]] else None


class Bags(NamedTuple):
    """Hold lists of features. Id `first` + l stands for list l.

    `elements` are the features of all lists, one list after the other; list l starts at `offsets[l]`, and the last
    offset is the number of elements. No list is empty.
    """

    first: int
    elements: Tensor
    offsets: Tensor

    def among(self, ids: Tensor) -> "BagsOfBatch":
        """Find the features that distinct ids, ascending, stand for by themselves or by lists."""
        num_plain = int(torch.searchsorted(ids, self.first))
        lists = ids[num_plain:] - self.first
        starts, sizes = self.offsets[lists], self.offsets[lists + 1] - self.offsets[lists]
        ends = sizes.cumsum(0)
        at = torch.arange(int(sizes.sum()), device=ids.device) + (starts - (ends - sizes)).repeat_interleave(sizes)
        features, index = torch.cat([ids[:num_plain], self.elements[at].long()]).unique(return_inverse=True)
        return BagsOfBatch(features, index[:num_plain], index[num_plain:], ends - sizes)


class BagsOfBatch(NamedTuple):
    """Hold the features that a batch needs, and how its ids are made of them.

    `features` are distinct. `plain` points into them for ids that are features, `elements` for the elements of all
    lists; `offsets` says where each list starts in `elements`.
    """

    features: Tensor
    plain: Tensor
    elements: Tensor
    offsets: Tensor

    def join(self, rows: Tensor) -> Tensor:
        """Make the row of each id from the rows of the features: its own, or the mean over its list."""
        means = embedding_bag(
            self.elements, rows.flatten(1) if rows.dim() > 1 else rows[:, None], self.offsets, mode="mean"
        )
        return torch.cat([rows.index_select(0, self.plain), means.view(-1, *rows.shape[1:])])


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
