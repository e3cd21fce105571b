"""Let ids stand for lists of features, and average the rows of each list."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag


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
