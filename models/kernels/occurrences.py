"""Find the distinct features of a batch, and their places."""

from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from models.kernels.calls import loops

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
