"""The kernels: what `models.layers` defines, computed with each distinct feature and pair of features once a batch.

A batch of 4096 rows of ten fields has few distinct features, and few distinct pairs of them. So the embeddings of a
batch are kept as `Embeddings`, a table with a row for each feature that occurs and where it occurs; interactions are
computed for each distinct pair; and the gradient of a table of weights is sparse, with the rows that occur. A sum over
places that share a row is an `embedding_bag` over sorted places: nothing of shape [batch, pair, K] is made, but for the
masks of dropout, at a byte an element.

Each function has its plain equal in `models.layers`. Shapes: batch rows, n fields, u features that occur, P pairs of
fields, q distinct pairs of features, K = embed_dim.
"""

# pyright: reportIncompatibleMethodOverride=false
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable
from torch.nn.functional import embedding_bag, pad
from torch.utils.weak import WeakTensorKeyDictionary

NUMBERS_OF_A_CHUNK = 1 << 19  # in a matrix of a chunk's pairs, at least: few calls, and small enough for the cache
MULTIPLE = 256  # matrices get rows of zeros up to a multiple of this: for each new shape oneDNN makes a new program
NUMBERS_OF_A_PIECE = 1 << 20  # in a matrix of the rows, times pairs of fields, that dropout takes at a time: at most

Fields = tuple[tuple[int, int], ...]  # pairs of fields
Kept = Callable[[int], Tensor | None]  # P → `[P, batch, K]`: 1 where dropout keeps an element, else 0; None keeps all


class Groups(NamedTuple):
    """Places sorted by group: `order` [places], and where in it each group starts, `offsets` [groups]."""

    order: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, group: Tensor, num_groups: int) -> "Groups":
        counts = torch.bincount(group, minlength=num_groups)
        return cls(group.argsort(stable=True), counts.cumsum(0) - counts)

    def sum(self, values: Tensor) -> Tensor:
        """Σ of the values `[places, K]` of each group, `[groups, K]`."""
        return embedding_bag(self.order, values, self.offsets, mode="sum")


class Occurrences:
    """Which features occur in a batch, `ids` `[u]` ascending, and where: `index` `[batch, n]` into them."""

    def __init__(self, ids: Tensor, index: Tensor) -> None:
        self.ids, self.index = ids, index
        self._pairs: dict[tuple[Fields, bool], Pairs] = {}

    @cached_property
    def places(self) -> Groups:
        """The places of `index`, flattened, by feature."""
        return Groups.of(self.index.flatten(), len(self.ids))

    @cached_property
    def rows(self) -> Groups:
        """The rows of the batch by feature."""
        return Groups(self.places.order // self.index.shape[1], self.places.offsets)

    def pairs(self, fields: Fields, table: Tensor) -> "Pairs":
        """The distinct pairs of features of these pairs of fields, with vectors in `table`; found once."""
        field_aware = table.dim() == 3
        if (fields, field_aware) not in self._pairs:
            self._pairs[fields, field_aware] = Pairs(self, fields, field_aware)
        return self._pairs[fields, field_aware]

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
        ids, index = torch.unique(x, return_inverse=True)
        _OCCURRENCES[x] = known = (version, Occurrences(ids.long(), index))
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
    """Σ over the fields of a row: `[u, K]` → `[batch, K]`."""
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
        W = weight.unflatten(1, (len(where.spans), -1)).transpose(0, 1).contiguous()  # [n, units, K]
        ctx.where = where
        ctx.save_for_backward(table, W)
        blocks = [pad_rows(table[low:high]) for low, high in where.spans]
        sizes = [high - low for low, high in where.spans]
        return torch.cat([matmul(a, W_i.T)[:size] for a, W_i, size in zip(blocks, W, sizes, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        table, W = ctx.saved_tensors
        grad_table, grad_W, start = torch.zeros_like(table), torch.empty_like(W), 0
        for i, (low, high) in enumerate(ctx.where.spans):
            size = high - low
            grad = pad_rows(gradients[0][start : start + size])
            grad_table[low:high] += matmul(grad, W[i])[:size]
            grad_W[i] = matmul(grad.T, pad_rows(table[low:high]))
            start += size
        return grad_table, grad_W.transpose(0, 1).flatten(1), None


def by_field(where: Occurrences) -> Occurrences:
    """The same, with the features of each field in a range of their own, as they are where no two fields share any."""
    start, shift = 0, []
    for low, high in where.spans:
        shift.append(start - low)
        start += high - low
    if not any(shift):
        return where
    device = where.index.device
    return Occurrences(torch.arange(start, device=device), where.index + torch.tensor(shift, device=device))


def onednn_keeps_float32() -> bool:
    """Whether oneDNN multiplies float32 as such where it may take bfloat16: without AMX, which only some CPUs have."""
    return torch.backends.mkldnn.is_available() and not torch.cpu._is_amx_tile_supported()


PREFER_ONEDNN = onednn_keeps_float32()


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """a @ b. Torch gives it to oneDNN only if bfloat16 is allowed: faster on a CPU with AVX-512, and as exact on one
    without AMX. Small products are slower by it, and so are ever new shapes."""
    if not PREFER_ONEDNN or a.dtype != torch.float32 or a.numel() * b.shape[1] < 1 << 22:
        return a @ b
    settings: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before, settings.fp32_precision = settings.fp32_precision, "bf16"
    try:
        return a @ b
    finally:
        settings.fp32_precision = before


def pad_rows(a: Tensor) -> Tensor:
    """With rows of zeros up to a multiple of `MULTIPLE`, unless it is small."""
    return a if len(a) < MULTIPLE else pad(a, (0, 0) * (a.dim() - 1) + (0, -len(a) % MULTIPLE))


class Pairs:
    """The distinct pairs of features of a batch, for some pairs of fields (i, j), sorted by field pair, i's feature and
    j's: `index` `[P, batch]` into them, and `left` and `right` `[q]` into the rows of the table of embeddings, which
    are those of [u, n], flattened, where a feature has a vector for each field."""

    def __init__(self, where: Occurrences, fields: Fields, field_aware: bool) -> None:
        self.fields, u, n = fields, len(where.ids), where.index.shape[1]
        i, j = torch.tensor(fields, device=where.index.device).T
        p = torch.arange(len(fields) + 1, device=i.device)
        key = (p[:-1, None] * u + where.index.T[i]) * u + where.index.T[j]  # [P, batch]
        in_order, self.order = key.flatten().sort(stable=True)
        is_first = first_of_run(in_order)
        self.offsets = is_first.nonzero().squeeze(1)
        distinct = in_order[self.offsets]
        self.index = torch.empty_like(in_order)
        self.index[self.order] = is_first.cumsum(0) - 1
        self.index = self.index.view(key.shape)
        self.field_pair, self.left, self.right = distinct // (u * u), distinct // u % u, distinct % u
        self.bounds: list[int] = torch.searchsorted(distinct, p * u * u).tolist()
        self.num_rows = u
        if field_aware:
            self.left = self.left * n + j[self.field_pair]
            self.right = self.right * n + i[self.field_pair]
            self.num_rows = u * n

    def chunks(self, width: int, most_fields: int) -> list["Chunk"]:
        """All pairs, some pairs of fields at a time: as many as make `NUMBERS_OF_A_CHUNK` with `width` numbers a pair,
        but at most `most_fields`."""
        firsts, first = [0], 0
        for last in range(1, len(self.fields)):
            if last - first >= most_fields or (self.bounds[last] - self.bounds[first]) * width >= NUMBERS_OF_A_CHUNK:
                firsts.append(first := last)
        return [Chunk(self, *limits) for limits in zip(firsts, [*firsts[1:], len(self.fields)], strict=True)]

    def sides(self, chunks: list["Chunk"]) -> Iterator["Sides"]:
        """Which of each chunk's left vectors, and then of its right vectors, are of which row of the table."""
        q, device = len(self.left), self.left.device
        starts = torch.tensor([chunk.start for chunk in chunks], device=device)
        chunk_of = torch.searchsorted(starts, torch.arange(q, device=device), right=True) - 1
        key = torch.cat([chunk_of * self.num_rows + self.left, chunk_of * self.num_rows + self.right])
        in_order, order = key.sort(stable=True)
        offsets = first_of_run(in_order).nonzero().squeeze(1)
        row = in_order[offsets]
        limits = torch.arange(len(chunks) + 1, device=device) * self.num_rows
        bounds: list[int] = torch.searchsorted(row, limits).tolist()
        for chunk, low, high in zip(chunks, bounds[:-1], bounds[1:], strict=True):
            of_chunk = order[2 * chunk.start : 2 * chunk.stop]
            right = of_chunk - (q + chunk.start - chunk.size)
            groups = Groups(
                torch.where(of_chunk < q, of_chunk - chunk.start, right), offsets[low:high] - 2 * chunk.start
            )
            yield Sides(row[low:high] % self.num_rows, groups)

    def sum_rows(self, values: Tensor, first: int, last: int) -> Tensor:
        """Σ over the rows of the batch that have each distinct pair, for the field pairs first … last − 1:
        `[(last − first) · batch, K]` → `[pairs, K]`."""
        batch = self.index.shape[1]
        order = self.order[first * batch : last * batch] - first * batch
        offsets = self.offsets[self.bounds[first] : self.bounds[last]] - first * batch
        return Groups(order, offsets).sum(values)


def first_of_run(in_order: Tensor) -> Tensor:
    """Whether each element differs from the one before it."""
    is_first = torch.ones_like(in_order, dtype=torch.bool)
    torch.ne(in_order[1:], in_order[:-1], out=is_first[1:])
    return is_first


class Sides(NamedTuple):
    """The rows of the table that a chunk has, and its left vectors, then its right vectors, by row."""

    rows: Tensor
    groups: Groups

    def add_gradient(self, grad_table: Tensor, grad: Tensor, left: Tensor, right: Tensor) -> None:
        """Add to the table's gradient what that of the products, `[pairs, K]`, gives."""
        grad_sides = torch.cat([grad * right, grad * left])
        grad_table.flatten(0, -2).index_add_(0, self.rows, self.groups.sum(grad_sides))


class Chunk(NamedTuple):
    """The distinct pairs of the field pairs `first` … `last` − 1."""

    pairs: Pairs
    first: int
    last: int

    @property
    def start(self) -> int:
        return self.pairs.bounds[self.first]

    @property
    def stop(self) -> int:
        return self.pairs.bounds[self.last]

    @property
    def size(self) -> int:
        return self.stop - self.start

    def vectors(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """The two embeddings of each pair, `[pairs, K]` each, and some more rows, up to a multiple."""
        sides = (self.pairs.left, self.pairs.right)
        left, right = (table.flatten(0, -2).index_select(0, pad_rows(side[self.start : self.stop])) for side in sides)
        return left, right

    def rows_of(self, M: Tensor) -> Tensor:
        """M `[P, 1, K]` of the field pair of each pair, and some more rows, up to a multiple: `[pairs, K]`."""
        return M[:, 0].index_select(0, pad_rows(self.pairs.field_pair[self.start : self.stop]))

    def own_columns(self) -> tuple[Tensor, Tensor]:
        """The places `[pairs, field pairs]` of each pair and its own field pair."""
        field_pair = self.pairs.field_pair[self.start : self.stop] - self.first
        return torch.arange(len(field_pair), device=field_pair.device), field_pair

    def sum_pairs(self, values: Tensor) -> Tensor:
        """Σ over the pairs of each field pair: `[pairs, K]` → `[field pairs, K]`."""
        bounds = torch.tensor(self.pairs.bounds[self.first : self.last], device=values.device) - self.start
        return Groups(torch.arange(len(values), device=values.device), bounds).sum(values)

    def pieces(self, width: int) -> Iterator[tuple[int, int, Tensor]]:
        """Field pairs first … last − 1 whose rows have no more than `NUMBERS_OF_A_PIECE` together, if possible, with
        `width` numbers a row, and those rows as places among the pairs of the chunk."""
        batch = self.pairs.index.shape[1]
        step = max(1, NUMBERS_OF_A_PIECE // (batch * width))
        for first in range(self.first, self.last, step):
            last = min(first + step, self.last)
            yield first, last, self.pairs.index[first:last].flatten() - self.start


def pair_effects(
    V: Embeddings,
    fields: Fields,
    M: Tensor,
    kept: Kept,
    scale: float,
    attention: tuple[Tensor, Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """hᵀ Relu(W (V_i ⊙ V_j) + b), and M_ij (V_i ⊙ V_j) with dropout on the products, for each row and pair of fields.

    attention: W `[K, K_a]`, b and h `[K_a]`, None for logits of zero; M `[P, d, K]` → `[batch, P]`, `[batch, P, d]`.
    """
    W, b, h = attention or (M.new_zeros(M.shape[-1], 0), M.new_zeros(0), M.new_zeros(0))
    pairs, learns = V.where.pairs(fields, V.table), torch.is_grad_enabled()
    return PairEffects.apply(V.table, W, b, h, M, pairs, kept, scale, learns)  # type: ignore[no-any-return]


def pair_logits(V: Embeddings, fields: Fields, attention: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """The first of `pair_effects` alone, `[batch, P]`."""
    no_effects = V.table.new_zeros(len(fields), 1, V.table.shape[-1])
    return pair_effects(V, fields, no_effects, lambda _: None, 1.0, attention)[0]


class PairEffects(Function):
    @staticmethod
    def forward(
        ctx: Any,
        table: Tensor,
        W: Tensor,
        b: Tensor,
        h: Tensor,
        M: Tensor,
        pairs: Pairs,
        kept: Kept,
        scale: float,
        learns: bool,
    ) -> tuple[Tensor, Tensor]:
        (P, batch), q, d = pairs.index.shape, len(pairs.left), M.shape[1]
        logits, effects = table.new_zeros(q), table.new_empty(q, d)
        effects_of_rows = table.new_empty(P, batch, d)
        active, masks = [], []
        # d numbers for each of a chunk's field pairs should not outweigh the attention network.
        chunks = pairs.chunks(max(W.shape), most_fields=max(1, 64 // d))
        for chunk in chunks:
            left, right = chunk.vectors(table)
            products, size = left.mul_(right), chunk.size
            hidden = matmul(products, W).add_(b).relu_()
            logits[chunk.start : chunk.stop] = torch.mv(hidden, h)[:size]
            if learns:  # ctx.needs_input_grad says yes in a prediction too
                active.append(torch.gt(hidden, 0, out=hidden).to(torch.int8))
            for first, last, rows in chunk.pieces(table.shape[-1]):
                if (mask := kept(last - first)) is None:
                    break
                masks.append(mask.flatten(0, 1))
                at_rows = products.index_select(0, rows).mul_(masks[-1]).view(last - first, batch, -1)
                torch.bmm(at_rows, M[first:last].mT, out=effects_of_rows[first:last])
            else:
                continue
            if d == 1:
                effects[chunk.start : chunk.stop, 0] = products.mul_(chunk.rows_of(M))[:size].sum(1)
            else:
                of_columns = matmul(products, M[chunk.first : chunk.last].flatten(0, 1).T)
                effects[chunk.start : chunk.stop] = of_columns.unflatten(1, (-1, d))[chunk.own_columns()]
        ctx.pairs, ctx.chunks, ctx.active, ctx.masks, ctx.scale = pairs, chunks, active, masks, scale
        ctx.save_for_backward(table, W, b, h, M)
        if not masks:
            effects_of_rows = effects[pairs.index]
        return logits[pairs.index].T, effects_of_rows.mul_(scale).transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        table, W, b, h, M = ctx.saved_tensors
        pairs: Pairs = ctx.pairs
        batch, d = pairs.index.shape[1], M.shape[1]
        grad_table, grad_M = torch.zeros_like(table), torch.zeros_like(M)
        grad_effects = gradients[1].transpose(0, 1).contiguous() * ctx.scale  # [P, batch, d]
        grad_logits = gradients[0].T.reshape(-1, 1)
        masks = iter(ctx.masks)
        W_h, grad_hidden_W, grad_hidden_b = (W * h).T, torch.zeros_like(W), torch.zeros_like(b)
        for chunk, sides, active in zip(ctx.chunks, pairs.sides(ctx.chunks), ctx.active, strict=True):
            left, right = chunk.vectors(table)
            products, size = left * right, chunk.size
            of_pairs = pairs.sum_rows(grad_logits[chunk.first * batch : chunk.last * batch], chunk.first, chunk.last)
            hidden = active * pad(of_pairs, (0, 0, 0, len(products) - size))
            grad_hidden_W += matmul(products.T, hidden)
            grad_hidden_b += hidden.sum(0)
            grad = matmul(hidden, W_h)
            if ctx.masks:
                for first, last, rows in chunk.pieces(table.shape[-1]):
                    mask, of_rows = next(masks), grad_effects[first:last]
                    at_rows = products.index_select(0, rows).mul_(mask).view(last - first, batch, -1)
                    torch.bmm(of_rows.mT, at_rows, out=grad_M[first:last])
                    grad_at_rows = torch.bmm(of_rows, M[first:last]).flatten(0, 1).mul_(mask)
                    of_piece = slice(pairs.bounds[first] - chunk.start, pairs.bounds[last] - chunk.start)
                    grad[of_piece] += pairs.sum_rows(grad_at_rows, first, last)
            else:
                of_pairs = pairs.sum_rows(grad_effects[chunk.first : chunk.last].flatten(0, 1), chunk.first, chunk.last)
                if d == 1:
                    grad[:size].addcmul_(chunk.rows_of(M)[:size], of_pairs)
                    grad_M[chunk.first : chunk.last, 0] = chunk.sum_pairs(products[:size] * of_pairs)
                else:
                    of_columns = of_pairs.new_zeros(len(products), chunk.last - chunk.first, d)
                    of_columns[chunk.own_columns()] = of_pairs
                    of_columns = of_columns.flatten(1)
                    grad_M[chunk.first : chunk.last] = matmul(of_columns.T, products).unflatten(0, (-1, d))
                    grad += matmul(of_columns, M[chunk.first : chunk.last].flatten(0, 1))
            sides.add_gradient(grad_table, grad[:size], left[:size], right[:size])
        # With the 0 or 1 of ReLU as r: the logit is Σ_k h_k r_k (W_k · products + b_k).
        grad_h = (grad_hidden_W * W).sum(0) + grad_hidden_b * b
        return grad_table, grad_hidden_W * h, grad_hidden_b * h, grad_h, grad_M, None, None, None, None


def pooled_products(V: Embeddings, fields: Fields, T: Tensor | None, kept: Kept, scale: float) -> Tensor:
    """Σ_{i<j} T_ij (V_i ⊙ V_j), dropout on the products: T `[batch, P]` or None (all ones) → `[batch, K]`."""
    if T is None:
        T = V.table.new_ones(()).expand(len(V.where.index), len(fields))
    return PooledProducts.apply(V.table, T, V.where.pairs(fields, V.table), kept, scale)  # type: ignore[no-any-return]


class PooledProducts(Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, T: Tensor, pairs: Pairs, kept: Kept, scale: float) -> Tensor:
        pooled, masks = table.new_zeros(len(T), table.shape[-1]), []
        chunks = pairs.chunks(table.shape[-1], most_fields=1)
        for chunk in chunks:
            left, right = chunk.vectors(table)
            at_rows = left.mul_(right).index_select(0, pairs.index[chunk.first] - chunk.start)
            if (mask := kept(1)) is not None:
                masks.append(mask[0])
                at_rows.mul_(mask[0])
            pooled.addcmul_(at_rows, T[:, chunk.first, None])
        ctx.pairs, ctx.chunks, ctx.masks, ctx.scale = pairs, chunks, masks, scale
        ctx.save_for_backward(table, T)
        return pooled.mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        table, T = ctx.saved_tensors
        pairs: Pairs = ctx.pairs
        grad = gradients[0] * ctx.scale
        grad_table, grad_T = torch.zeros_like(table), torch.empty_like(T, memory_format=torch.contiguous_format)
        for p, (chunk, sides) in enumerate(zip(ctx.chunks, pairs.sides(ctx.chunks), strict=True)):
            left, right = chunk.vectors(table)
            masked = grad * ctx.masks[p] if ctx.masks else grad
            at_rows = (left * right).index_select(0, pairs.index[p] - chunk.start)
            grad_T[:, p] = (at_rows * masked).sum(1)
            size = chunk.size
            grad_products = pairs.sum_rows(masked * T[:, p, None], p, p + 1)
            sides.add_gradient(grad_table, grad_products, left[:size], right[:size])
        return grad_table, grad_T, None, None, None
