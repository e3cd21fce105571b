"""Find the distinct pairs of features of a batch, and process them in chunks.

A chunk has some pairs of fields. Shapes as in `models.kernels.features`; P pairs of fields, q distinct pairs of
features.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from models.kernels.calls import call, loops
from models.kernels.features import Embeddings, Groups, Occurrences, grouped
from models.kernels.products import matmul, pad_rows

NUMBERS_OF_A_CHUNK = 1 << 19  # least size of a matrix of a chunk's pairs: few calls, and small enough for the cache
NUMBERS_OF_ONE_CHUNK = 1 << 21  # up to this size, all pairs are one chunk: with few pairs, calls take the most time
NUMBERS_OF_A_PIECE = 1 << 20  # largest matrix that dropout takes at a time: rows × pairs of fields × K

Fields = tuple[tuple[int, int], ...]  # pairs of fields
Kept = Callable[[int], Tensor]  # P → `[P, batch, K]`, in bytes: 1 where dropout keeps an element, else 0


class Pairs:
    """Hold the distinct pairs of features of a batch, for some pairs of fields.

    Pairs are sorted by field pair (i, j), then by i's feature. `index` `[P, batch]` points to each row's pairs, and
    `places` are the places of the flattened `index`, by pair. `left` and `right` `[q]` are rows of the table of
    embeddings. If a feature has a vector for each field, they are rows of the table [u, n], flattened.
    """

    def __init__(self, where: Occurrences, fields: Fields, field_aware: bool) -> None:
        self.fields, self.num_rows, n = fields, len(where.ids), where.index.shape[1]
        of_pairs = torch.tensor(fields, device=where.index.device)  # [P, 2]
        if where.index.device.type == "cpu":
            found = map(torch.from_numpy, call(loops().find_pairs, where.index, self.num_rows, of_pairs))
            self.left, self.right, self.field_pair, self.index, bounds = found
        else:
            u, (i, j) = self.num_rows, of_pairs.T
            p = torch.arange(len(fields) + 1, device=i.device)
            key = (p[:-1, None] * u + where.index.T[i]) * u + where.index.T[j]  # [P, batch]
            distinct, self.index, self.places = grouped(key, below=len(fields) * u * u)
            self.field_pair, self.left, self.right = distinct // (u * u), distinct // u % u, distinct % u
            bounds = torch.searchsorted(distinct, p * u * u)
        self.bounds: list[int] = bounds.tolist()
        if field_aware:
            self.left = self.left * n + of_pairs[self.field_pair, 1]
            self.right = self.right * n + of_pairs[self.field_pair, 0]
            self.num_rows *= n

    @cached_property
    def places(self) -> Groups:
        order, offsets = call(loops().order_of, self.index.flatten(), len(self.left))
        return Groups(torch.from_numpy(order), torch.from_numpy(offsets))

    def chunks(self, width: int, most_fields: int) -> list["Chunk"]:
        """Split all pairs into chunks of some pairs of fields.

        A chunk ends when it has `NUMBERS_OF_A_CHUNK` numbers, at `width` for each pair, or `most_fields` pairs of
        fields. If all pairs have at most `NUMBERS_OF_ONE_CHUNK` numbers, only `most_fields` counts.
        """
        numbers = [bound * width for bound in self.bounds]
        limit = numbers[-1] if numbers[-1] <= NUMBERS_OF_ONE_CHUNK else NUMBERS_OF_A_CHUNK
        firsts, first = [0], 0
        for last in range(1, len(self.fields)):
            if last - first >= most_fields or numbers[last] - numbers[first] >= limit:
                firsts.append(first := last)
        return [Chunk(self, *limits) for limits in zip(firsts, [*firsts[1:], len(self.fields)], strict=True)]

    def sides(self, chunks: list["Chunk"]) -> Iterator["Sides"]:
        """Yield for each chunk which of its vectors are which rows of the table."""
        q, device = len(self.left), self.left.device
        starts = torch.tensor([chunk.start for chunk in chunks], device=device)
        chunk_of = torch.searchsorted(starts, torch.arange(q, device=device), right=True) - 1
        key = torch.cat([chunk_of * self.num_rows + self.left, chunk_of * self.num_rows + self.right])
        row, _, (order, offsets) = grouped(key, below=len(chunks) * self.num_rows)
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
        """Sum values over the rows of the batch that have each distinct pair.

        Takes the field pairs first … last − 1: `[(last − first) · batch, K]` → `[pairs, K]`.
        """
        batch = self.index.shape[1]
        order = self.places.order[first * batch : last * batch] - first * batch
        offsets = self.places.offsets[self.bounds[first] : self.bounds[last]] - first * batch
        return Groups(order, offsets).sum(values)


def pairs_of(V: Embeddings, fields: Fields) -> Pairs:
    """Find the distinct pairs of features for `fields`, once for each batch."""
    field_aware, known = V.field_aware, V.where.pairs
    if (fields, field_aware) not in known:
        known[fields, field_aware] = Pairs(V.where, fields, field_aware)
    return known[fields, field_aware]


class Sides(NamedTuple):
    """Hold the table rows of a chunk, with the vectors of each row.

    `groups` sorts the left vectors, then the right vectors, by row.
    """

    rows: Tensor
    groups: Groups

    def add_gradient(self, grad_table: Tensor, grad: Tensor, left: Tensor, right: Tensor) -> None:
        """Propagate the products' gradient, `[pairs, K]`, to the table's gradient."""
        grad_sides = grad.new_empty(2, *grad.shape)
        torch.mul(grad, right, out=grad_sides[0])
        torch.mul(grad, left, out=grad_sides[1])
        grad_table.flatten(0, -2).index_add_(0, self.rows, self.groups.sum(grad_sides.flatten(0, 1)))


class Chunk(NamedTuple):
    """Hold the distinct pairs of the field pairs `first` … `last` − 1."""

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
        """Return both embeddings of each pair, `[pairs, K]` each, with padding rows."""
        sides = (self.pairs.left, self.pairs.right)
        left, right = (table.flatten(0, -2).index_select(0, pad_rows(side[self.start : self.stop])) for side in sides)
        return left, right

    def rows_of(self, M: Tensor) -> Tensor:
        """Return M `[P, 1, K]` of each pair's field pair: `[pairs, K]`, with padding rows."""
        return M[:, 0].index_select(0, pad_rows(self.pairs.field_pair[self.start : self.stop]))

    def own_columns(self) -> tuple[Tensor, Tensor]:
        """Index each pair's own field pair in a matrix `[pairs, field pairs]`."""
        field_pair = self.pairs.field_pair[self.start : self.stop] - self.first
        return torch.arange(len(field_pair), device=field_pair.device), field_pair

    def sum_pairs(self, values: Tensor) -> Tensor:
        """Sum over the pairs of each field pair: `[pairs, K]` → `[field pairs, K]`."""
        bounds = torch.tensor(self.pairs.bounds[self.first : self.last], device=values.device) - self.start
        return Groups(torch.arange(len(values), device=values.device), bounds).sum(values)

    def pieces(self, width: int) -> Iterator[tuple[int, int, Tensor]]:
        """Split the chunk's field pairs into pieces for dropout.

        Yields first and last, for field pairs first … last − 1, and the pair of each of their rows, counted from the
        chunk's first pair. A piece has at most `NUMBERS_OF_A_PIECE` numbers, at `width` for each row, but at least one
        field pair.
        """
        batch = self.pairs.index.shape[1]
        step = max(1, NUMBERS_OF_A_PIECE // (batch * width))
        for first in range(self.first, self.last, step):
            last = min(first + step, self.last)
            yield first, last, self.pairs.index[first:last].flatten() - self.start

    def effects(self, products: Tensor, M: Tensor, kept: Kept | None, out: Tensor) -> list[Tensor]:
        """Compute the effects M_ij (V_i ⊙ V_j) of the chunk's pairs, with dropout.

        Writes them for each row of the batch into `out` `[P, batch, d]`. Returns the masks, by piece. May overwrite
        `products`.
        """
        d, index = M.shape[1], self.pairs.index
        if d == 1:
            products.mul_(self.rows_of(M))
        if kept is None:
            if d == 1:
                of_pairs = products.sum(1, keepdim=True)
            else:
                of_columns = matmul(products, M[self.first : self.last].flatten(0, 1).T)
                of_pairs = of_columns.unflatten(1, (-1, d))[self.own_columns()]
            out[self.first : self.last] = of_pairs[index[self.first : self.last] - self.start]
            return []
        masks = []
        for first, last, rows in self.pieces(M.shape[-1]):
            masks.append(kept(last - first).flatten(0, 1))
            at_rows = products.index_select(0, rows).mul_(masks[-1])
            if d == 1:
                torch.sum(at_rows, 1, out=out[first:last].view(-1))
            else:
                torch.bmm(at_rows.unflatten(0, (last - first, -1)), M[first:last].mT, out=out[first:last])
        return masks

    def add_effects_gradient(
        self, grad: Tensor, grad_M: Tensor, grad_effects: Tensor, products: Tensor, M: Tensor, masks: list[Tensor]
    ) -> None:
        """Propagate the effects' gradient, `[P, batch, d]`, to the products and M.

        Adds to `grad`, the products' gradient, and writes the chunk's part of `grad_M`.
        """
        pairs, size, d, fields = self.pairs, self.size, M.shape[1], slice(self.first, self.last)
        if d > 1 and masks:
            for (first, last, rows), mask in zip(self.pieces(M.shape[-1]), masks, strict=True):
                of_rows = grad_effects[first:last]
                at_rows = products.index_select(0, rows).mul_(mask).unflatten(0, (last - first, -1))
                torch.bmm(of_rows.mT, at_rows, out=grad_M[first:last])
                grad_at_rows = torch.bmm(of_rows, M[first:last]).flatten(0, 1).mul_(mask)
                of_piece = slice(pairs.bounds[first] - self.start, pairs.bounds[last] - self.start)
                grad[of_piece] += pairs.sum_rows(grad_at_rows, first, last)
            return
        if masks:
            of_pairs = torch.cat(
                [
                    pairs.sum_rows(grad_effects[first:last].flatten(0, 1) * mask, first, last)
                    for (first, last, _), mask in zip(self.pieces(M.shape[-1]), masks, strict=True)
                ]
            )
        else:
            of_pairs = pairs.sum_rows(grad_effects[fields].flatten(0, 1), self.first, self.last)
        if d == 1:
            grad[:size].addcmul_(self.rows_of(M)[:size], of_pairs)
            grad_M[fields, 0] = self.sum_pairs(products[:size] * of_pairs)
        else:
            of_columns = of_pairs.new_zeros(len(products), self.last - self.first, d)
            of_columns[self.own_columns()] = of_pairs
            of_columns = of_columns.flatten(1)
            grad_M[fields] = matmul(of_columns.T, products).unflatten(0, (-1, d))
            grad += matmul(of_columns, M[fields].flatten(0, 1))
