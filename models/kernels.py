"""The kernels: what `models.layers` defines, computed with each distinct feature once a batch.

A batch of 4096 rows of ten fields has few distinct features, and few distinct pairs of them. So the embeddings of a
batch are kept as `Embeddings`, a table with a row for each feature that occurs and where it occurs; interactions are
computed for each distinct pair (`models.pair_kernels`); and the gradient of a table of weights is sparse, with the rows
that occur. A sum over places that share a row is an `embedding_bag` over sorted places.

Each function has its plain equal in `models.layers`. Shapes: batch rows, n fields, u features that occur, K embed_dim.
"""

# pyright: reportIncompatibleMethodOverride=false
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable
from torch.nn.functional import embedding_bag, pad
from torch.utils.weak import WeakTensorKeyDictionary

MULTIPLE = 256  # matrices get rows of zeros up to a multiple of this: for each new shape oneDNN makes a new program


class Groups(NamedTuple):
    """Places sorted by group: `order` [places], and where in it each group starts, `offsets` [groups]."""

    order: Tensor
    offsets: Tensor

    def sum(self, values: Tensor) -> Tensor:
        """Σ of the values `[places, K]` of each group, `[groups, K]`."""
        return embedding_bag(self.order, values, self.offsets, mode="sum")


def grouped(values: Tensor, below: int = 1 << 63) -> tuple[Tensor, Tensor, Groups]:
    """The distinct values, ascending; the index of each value into them; and the places, flattened, of each of them.
    It takes less time where all are `below` 2³¹."""
    in_order, order = narrow(values, below).flatten().sort(stable=True)
    distinct, group, counts = torch.unique_consecutive(in_order, return_inverse=True, return_counts=True)
    index = torch.empty_like(group).scatter_(0, order, group).view(values.shape)
    return distinct.long(), index, Groups(order, counts.cumsum(0) - counts)


def narrow(values: Tensor, below: int) -> Tensor:
    """In 32 bits where these are enough, which are sorted in less time."""
    return values.int() if below <= 1 << 31 else values


class Occurrences:
    """Which features occur in a batch, `ids` `[u]` ascending, and where: `index` `[batch, n]` into them, and `places`
    of `index`, flattened, by feature."""

    def __init__(self, ids: Tensor, index: Tensor, places: Groups) -> None:
        self.ids, self.index, self.places = ids, index, places
        self.pairs: dict[Any, Any] = {}  # what `models.pair_kernels` has found in it

    @cached_property
    def rows(self) -> Groups:
        """The rows of the batch by feature."""
        return Groups(self.places.order // self.index.shape[1], self.places.offsets)

    @cached_property
    def places_by_field(self) -> Groups:
        """The places of `index.T`, flattened, by feature."""
        batch, n = self.index.shape
        return Groups(self.places.order % n * batch + self.places.order // n, self.places.offsets)

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        """The range of `ids` that each field's features lie in."""
        low, high = self.index.aminmax(dim=0)
        return list(zip(low.tolist(), (high + 1).tolist(), strict=True))


_OCCURRENCES: Any = WeakTensorKeyDictionary()


def occurrences(x: Tensor) -> Occurrences:
    """The features of a batch `[batch, n]`: found once, as the layers of a model are all given the same tensor."""
    version = None if x.is_inference() else x._version  # a batch that was changed in place is another
    known = _OCCURRENCES.get(x)
    if known is None or known[0] != version:
        _OCCURRENCES[x] = known = (version, Occurrences(*grouped(x)))
    return known[1]


def touched_rows(weight: Tensor, ids: Tensor) -> Tensor:
    """weight[ids] for distinct ids, with a gradient that is sparse, of those rows alone.

    Calls `weight.before_reading(ids)` where an optimizer that updates rows late has set it.
    """
    if before_reading := getattr(weight, "before_reading", None):
        before_reading(ids)
    return TouchedRows.apply(weight, ids)  # type: ignore[no-any-return]


class TouchedRows(Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, ids: Tensor) -> Tensor:
        ctx.ids, ctx.shape = ids, weight.shape
        return weight.index_select(0, ids)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        ids = ctx.ids[None]
        return torch.sparse_coo_tensor(ids, gradients[0], ctx.shape, is_coalesced=True, check_invariants=False), None


class Embeddings(NamedTuple):
    """The embeddings of a batch, each feature's once: a table `[u, K]`, or `[u, n, K]` where a feature has a vector for
    each field, and the `where` of its rows."""

    table: Tensor
    where: Occurrences


def spread(table: Tensor, where: Occurrences) -> Tensor:
    """Each row at its places: `[u, …]` → `[batch, n, …]`."""
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
    """Σ over the fields of a row: `[u, K]` or `[u]` → `[batch, K]` or `[batch]`."""
    return FieldSum.apply(table, where)  # type: ignore[no-any-return]


class FieldSum(Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, where: Occurrences) -> Tensor:
        ctx.where = where
        if table.dim() == 1:
            return table.index_select(0, where.index.flatten()).view(where.index.shape).sum(1)
        return embedding_bag(where.index, table, mode="sum")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        grad = gradients[0].contiguous()
        return ctx.where.rows.sum(grad.view(len(grad), -1)).view(-1, *grad.shape[1:]), None


def bi_interaction(V: Embeddings) -> Tensor:
    """½ [(Σ_i V_i)² − Σ_i V_i²]: `[u, K]` → `[batch, K]`."""
    return BiInteraction.apply(V.table, V.where)  # type: ignore[no-any-return]


class BiInteraction(Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, where: Occurrences) -> Tensor:
        total = embedding_bag(where.index, table, mode="sum")
        squares = embedding_bag(where.index, table * table, mode="sum")
        ctx.where = where
        ctx.save_for_backward(table, total)
        return squares.neg_().addcmul_(total, total).mul_(0.5)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        grad, (table, total) = gradients[0], ctx.saved_tensors  # d/dV_i = Σ over its rows of g ⊙ (Σ_j V_j − V_i)
        rows = ctx.where.rows
        return rows.sum(total * grad).addcmul_(rows.sum(grad.contiguous()), table, value=-1), None


def concatenated_linear(V: Embeddings, weight: Tensor, bias: Tensor) -> Tensor:
    """W [V_1 … V_n] + b = Σ_i W_i V_i + b, each W_i V_i once: weight `[units, n K]` → `[batch, units]`."""
    return field_sum(Projection.apply(V.table, weight, V.where), by_field(V.where)) + bias  # type: ignore[arg-type]


class Projection(Function):
    """W_i V_i of the features of each field i, field after field."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, weight: Tensor, where: Occurrences) -> Tensor:
        ctx.where = where
        ctx.save_for_backward(table, weight)
        W = weight.split(table.shape[1], dim=1)  # n of [units, K]
        blocks = [pad_rows(table[low:high]) for low, high in where.spans]
        sizes = [high - low for low, high in where.spans]
        return torch.cat([matmul(a, W_i.T)[:size] for a, W_i, size in zip(blocks, W, sizes, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        table, weight = ctx.saved_tensors
        grad_table, grad_weight, start = torch.zeros_like(table), torch.empty_like(weight), 0
        W, grad_W = (w.split(table.shape[1], dim=1) for w in (weight, grad_weight))
        for (low, high), W_i, grad_W_i in zip(ctx.where.spans, W, grad_W, strict=True):
            size = high - low
            grad = pad_rows(gradients[0][start : start + size])
            grad_table[low:high] += matmul(grad, W_i)[:size]
            matmul(grad.T, pad_rows(table[low:high]), out=grad_W_i)
            start += size
        return grad_table, grad_weight, None


def by_field(where: Occurrences) -> Occurrences:
    """The same, with the features of each field in a range of their own, as they are where no two fields share any."""
    start, shift = 0, []
    for low, high in where.spans:
        shift.append(start - low)
        start += high - low
    if not any(shift):
        return where
    index = where.index + torch.tensor(shift, device=where.index.device)
    in_order, order = index.flatten().sort(stable=True)
    ids = torch.arange(start, device=index.device)  # of which some may not occur
    return Occurrences(ids, index, Groups(order, torch.searchsorted(in_order, ids)))


def onednn_keeps_float32() -> bool:
    """Whether oneDNN multiplies float32 as such where it may take bfloat16: without AMX, which only some CPUs have."""
    return torch.backends.mkldnn.is_available() and not torch.cpu._is_amx_tile_supported()


PREFER_ONEDNN = onednn_keeps_float32()


def matmul(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """a @ b, into `out` if given. Torch gives it to oneDNN only if bfloat16 is allowed: faster on a CPU with AVX-512,
    and as exact on one without AMX. Small products are slower by it, and so are ever new shapes."""
    if not PREFER_ONEDNN or a.dtype != torch.float32 or a.numel() * b.shape[1] < 1 << 22:
        return torch.mm(a, b, out=out)
    settings: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before, settings.fp32_precision = settings.fp32_precision, "bf16"
    try:
        return torch.mm(a, b, out=out)
    finally:
        settings.fp32_precision = before


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x Wᵀ + b: x `[batch, inputs]`, weight `[units, inputs]` → `[batch, units]`."""
    return Linear.apply(x, weight, bias)  # type: ignore[no-any-return]


class Linear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return matmul(x, weight.T).add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        grad, (x, weight) = gradients[0], ctx.saved_tensors
        grad_x = matmul(grad, weight) if ctx.needs_input_grad[0] else None
        return grad_x, matmul(grad.T, x), grad.sum(0)


def pad_rows(a: Tensor) -> Tensor:
    """With rows of zeros up to a multiple of `MULTIPLE`, unless it is small."""
    return a if len(a) < MULTIPLE else pad(a, (0, 0) * (a.dim() - 1) + (0, -len(a) % MULTIPLE))
