"""Find the distinct pairs of features of a batch, and process them in chunks.

A chunk has some pairs of fields. Shapes as in `models.kernels.features`; P pairs of fields, q distinct pairs of
features.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from models.kernels.calls import call, in_parts, loops
from models.kernels.features import Embeddings
from models.kernels.occurrences import Occurrences
from models.kernels.products import MULTIPLE, matmul

NUMBERS_OF_A_CHUNK = 1 << 19  # least size of a matrix of a chunk's pairs: few calls, and small enough for the cache
NUMBERS_OF_ONE_CHUNK = 1 << 21  # up to this size, all pairs are one chunk: with few pairs, calls take the most time
NUMBERS_OF_A_PIECE = 1 << 20  # largest matrix that dropout takes at a time: rows × pairs of fields × K

Fields = tuple[tuple[int, int], ...]  # pairs of fields
Kept = Callable[[int], Tensor]  # P → `[P, batch, K]`, in bytes: 1 where dropout keeps an element, else 0


class Pairs:
    """Hold the distinct pairs of features of a batch, for some pairs of fields.

    Pairs are sorted by field pair (i, j), then by i's feature. `index` `[P, batch]` points to each row's pairs. `left`
    and `right` `[q]` are rows of the table of embeddings. If a feature has a vector for each field, they are rows of
    the table [u, n], flattened.
    """

    def __init__(self, where: Occurrences, fields: Fields, field_aware: bool) -> None:
        self.fields, self.num_rows, n, of_pairs = fields, len(where.ids), where.index.shape[1], torch.tensor(fields)
        found = map(torch.from_numpy, call(loops().find_pairs, where.index, self.num_rows, of_pairs))
        self.left, self.right, self.field_pair, self.index, bounds = found
        self.bounds: list[int] = bounds.tolist()
        if field_aware:
            self.left = self.left * n + of_pairs[self.field_pair, 1]
            self.right = self.right * n + of_pairs[self.field_pair, 0]
            self.num_rows *= n

    @cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """Sort the places of the flattened `index` by pair: their order, and where each pair starts in it."""
        order, offsets = call(loops().order_of, self.index.flatten(), len(self.left))
        return torch.from_numpy(order), torch.from_numpy(offsets)

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


def pairs_of(V: Embeddings, fields: Fields) -> Pairs:
    """Find the distinct pairs of features for `fields`, once for each batch."""
    field_aware, known = V.field_aware, V.where.pairs
    if (fields, field_aware) not in known:
        known[fields, field_aware] = Pairs(V.where, fields, field_aware)
    return known[fields, field_aware]


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

    def of_pairs(self, values: Tensor) -> Tensor:
        """Select the chunk's part of values `[q]`."""
        return values[self.start : self.stop]

    def products(self, table: Tensor) -> Tensor:
        """Multiply both embeddings of each pair, `[pairs, K]`, with padding rows of zeros."""
        rows = self.size if self.size < MULTIPLE else self.size + -self.size % MULTIPLE
        out = table.new_empty(rows, table.shape[-1])
        out[self.size :] = 0
        sides = self.of_pairs(self.pairs.left), self.of_pairs(self.pairs.right)
        in_parts(loops().pair_products, self.size, out.numel(), table.flatten(0, -2), *sides, out)
        return out

    def add_products_gradient(self, grad_table: Tensor, grad: Tensor, table: Tensor) -> None:
        """Propagate the products' gradient, `[pairs, K]`, to the table's gradient."""
        sides = self.of_pairs(self.pairs.left), self.of_pairs(self.pairs.right)
        flat = table.flatten(0, -2), *sides, grad, grad_table.flatten(0, -2)
        in_parts(loops().pair_products_gradient, table.shape[-1], grad.numel(), *flat)

    def sum_rows(self, values: Tensor) -> Tensor:
        """Sum values `[P, batch, d]` over the rows that have each of the chunk's pairs: `[pairs, d]`."""
        out = values.new_empty(self.size, values.shape[-1])
        call(loops().sum_of_pairs, values[self.first : self.last], self.own_index, self.start, out)
        return out

    @property
    def own_index(self) -> Tensor:
        return self.pairs.index[self.first : self.last]

    def own_columns(self) -> tuple[Tensor, Tensor]:
        """Index each pair's own field pair in a matrix `[pairs, field pairs]`."""
        return torch.arange(self.size), self.of_pairs(self.pairs.field_pair) - self.first

    def sum_pairs(self, values: Tensor, weights: Tensor | None = None) -> Tensor:
        """Sum over the pairs of each field pair, weighed by `[pairs]`: `[pairs, K]` → `[field pairs, K]`."""
        bounds = torch.tensor(self.pairs.bounds[self.first : self.last]) - self.start
        return embedding_bag(torch.arange(self.size), values, bounds, mode="sum", per_sample_weights=weights)

    def pieces(self, width: int) -> Iterator[tuple[int, int]]:
        """Split the chunk's field pairs into pieces for dropout: first and last, for field pairs first … last − 1.

        A piece has at most `NUMBERS_OF_A_PIECE` numbers, at `width` for each row, but at least one field pair.
        """
        step = max(1, NUMBERS_OF_A_PIECE // (self.pairs.index.shape[1] * width))
        for first in range(self.first, self.last, step):
            yield first, min(first + step, self.last)

    def effects(self, products: Tensor, M: Tensor, kept: Kept | None, out: Tensor) -> list[Tensor]:
        """Compute the effects M_ij (V_i ⊙ V_j) of the chunk's pairs, with dropout.

        Writes them for each row of the batch into `out` `[P, batch, d]`. Returns the masks, by piece.
        """
        d, field_pair = M.shape[1], self.of_pairs(self.pairs.field_pair)
        if kept is None:
            if d == 1:
                of_pairs = products.new_empty(self.size, 1)
                in_parts(loops().weigh, self.size, products.numel(), products, M[:, 0], field_pair, of_pairs[:, 0])
            else:
                of_columns = matmul(products, M[self.first : self.last].flatten(0, 1).T)
                of_pairs = of_columns.unflatten(1, (-1, d))[self.own_columns()]
            out[self.first : self.last] = of_pairs[self.own_index - self.start]
            return []
        masks = []
        for first, last in self.pieces(M.shape[-1]):
            masks.append(kept(last - first).contiguous())
            arguments = products, self.pairs.index[first:last], self.start, masks[-1]
            rows, numbers = masks[-1].shape[1], masks[-1].numel()
            if d == 1:
                in_parts(loops().weigh_masked, rows, numbers, *arguments, M[first:last, 0], out[first:last, :, 0])
            else:
                torch.bmm(self.masked(products, first, last, masks[-1]), M[first:last].mT, out=out[first:last])
        return masks

    def masked(self, products: Tensor, first: int, last: int, mask: Tensor) -> Tensor:
        """Copy each row's products, multiplied by a mask: `[field pairs, batch, K]`."""
        out = products.new_empty(mask.shape)
        arguments = products, self.pairs.index[first:last], self.start, mask, out
        in_parts(loops().mask_products, mask.shape[1], mask.numel(), *arguments)
        return out

    def add_effects_gradient(
        self, grad: Tensor, grad_M: Tensor, grad_effects: Tensor, products: Tensor, M: Tensor, masks: list[Tensor]
    ) -> None:
        """Propagate the effects' gradient, `[P, batch, d]`, to the products and M.

        Adds to `grad`, the products' gradient, and writes the chunk's part of `grad_M`.
        """
        size, d, fields, pairs = self.size, M.shape[1], slice(self.first, self.last), self.pairs
        field_pair = self.of_pairs(pairs.field_pair)
        if masks:
            order, offsets = pairs.places
            of_M = torch.empty_like(products)
            for (first, last), mask in zip(self.pieces(M.shape[-1]), masks, strict=True):
                low, high = pairs.bounds[first], pairs.bounds[last]
                places = order, offsets[low:high], first * mask.shape[1], last * mask.shape[1]
                part = slice(low - self.start, high - self.start)
                flat = mask.flatten(0, 1)
                if d == 1:
                    values = grad_effects[first:last].flatten()
                    of_pairs = products[part], M[:, 0], field_pair[part], grad[part], of_M[part]
                    in_parts(loops().weigh_masked_gradient, high - low, mask.numel(), values, flat, *places, *of_pairs)
                else:
                    of_rows = grad_effects[first:last]
                    torch.bmm(of_rows.mT, self.masked(products, first, last, mask), out=grad_M[first:last])
                    values = torch.bmm(of_rows, M[first:last]).flatten(0, 1)
                    in_parts(loops().sum_masked, high - low, mask.numel(), values, flat, *places, grad[part])
            if d == 1:
                grad_M[fields, 0] = self.sum_pairs(of_M)
            return
        of_pairs = self.sum_rows(grad_effects)
        if d == 1:
            in_parts(loops().weigh_gradient, size, grad.numel(), of_pairs[:, 0], M[:, 0], field_pair, grad)
            grad_M[fields, 0] = self.sum_pairs(products, of_pairs[:, 0])
        else:
            of_columns = of_pairs.new_zeros(len(products), self.last - self.first, d)
            of_columns[self.own_columns()] = of_pairs
            of_columns = of_columns.flatten(1)
            grad_M[fields] = matmul(of_columns.T, products).unflatten(0, (-1, d))
            grad += matmul(of_columns, M[fields].flatten(0, 1))
