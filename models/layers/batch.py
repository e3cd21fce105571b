"""Hold the rows that a model is called with."""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.kernels.bags import Bags, BagsOfBatch
from models.kernels.occurrences import Occurrences, grouped
from models.layers.pairs import field_pairs


class PaddedLists(NamedTuple):
    """Hold the lists of each row, with the same length for `torch.export`.

    `elements` `[batch, lists, length]` are features, and −1 where a list has no more; no list is empty. `places` are
    the fields that hold the lists.
    """

    elements: Tensor
    places: Sequence[int]

    def put(self, rows: Tensor, weight: Tensor) -> Tensor:
        """Put the means of elements' weights in the places of lists. Shape: rows `[batch, n, K]`."""
        there = (self.elements >= 0)[..., None]
        of_elements = nn.functional.embedding(self.elements.clamp(min=0), weight) * there
        means = of_elements.sum(2) / there.sum(2)
        columns = list(rows.unbind(1))
        for number, place in enumerate(self.places):
            columns[place] = means[:, number]
        return torch.stack(columns, 1)


class Batch:
    """Hold a batch of rows, and share among layers what is found in it.

    `ids` `[batch, n]` are global feature ids (int). `values` `[batch, n]` are the features' values; None if all are 1.
    With `kernels`, tables of weights have sparse gradients, and on a CPU layers compute each distinct feature once.
    Without, they compute the same in more time. Ids from `bags.first` on stand for lists of features, whose weights are
    means over the list. `padded` are the lists instead where a model is exported; ids of their fields then don't count.
    """

    def __init__(
        self,
        ids: Tensor,
        values: Tensor | None = None,
        kernels: bool = False,
        bags: Bags | None = None,
        padded: PaddedLists | None = None,
    ) -> None:
        self.ids, self.values, self.kernels, self.bags, self.padded = ids, values, kernels, bags, padded

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_fields(self) -> int:
        return self.ids.shape[1]

    @property
    def by_feature(self) -> bool:
        """Tell whether layers compute each distinct feature once; with values, x_i V_i differs by row."""
        return self.kernels and self.values is None and self.ids.device.type == "cpu"

    @cached_property
    def where(self) -> Occurrences:
        """Find which features occur, and where."""
        return Occurrences(*grouped(self.ids))

    @cached_property
    def lists(self) -> BagsOfBatch | None:
        """Find the features of the lists that occur; None where fields hold no lists."""
        return self.bags and self.bags.among(self.where.ids)

    def absent(self, pairs: Tensor | None = None) -> Tensor | None:
        """Find the pairs with x_i x_j = 0, which are no interactions.

        Shape: pairs as in `field_pairs` (None: all) → `[batch, P]`, or None if all values are 1.
        """
        if self.values is None:
            return None
        i, j = field_pairs(self.num_fields) if pairs is None else pairs
        zero = self.values == 0
        return zero[:, i] | zero[:, j]

    def columns(self, columns: list[int], shift: Tensor | int = 0) -> "Batch":
        """Pick fields, and subtract `shift` `[fields]` from their ids."""
        padded = bool(self.padded and {*columns} & {*self.padded.places})
        if padded or (self.bags and (self.ids[:, columns] >= self.bags.first).any()):
            raise ValueError("this model needs a field by name that holds lists: give it one value a row")
        values = None if self.values is None else self.values[:, columns]
        return Batch(self.ids[:, columns] - shift, values, self.kernels)


class OnTensors(nn.Module):
    """Call a model with tensors instead of a batch, for `torch.export` and ONNX.

    The wrapped model computes the plain formulas. Fields number `places` hold lists. Shape: ids and values
    `[batch, n]`, lists as in `PaddedLists` → logits `[batch]`.
    """

    def __init__(self, model: nn.Module, places: Sequence[int] = ()) -> None:
        super().__init__()
        self.model, self.places = model.eval(), places

    def forward(self, ids: Tensor, values: Tensor | None = None, lists: Tensor | None = None) -> Tensor:
        return self.model(Batch(ids, values, padded=None if lists is None else PaddedLists(lists, self.places)))
