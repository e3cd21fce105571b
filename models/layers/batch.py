"""Hold the rows that a model is called with."""

from functools import cached_property

from torch import Tensor

from models.kernels.features import Occurrences, grouped
from models.layers.pairs import field_pairs


class Batch:
    """Hold a batch of rows, and share among layers what is found in it.

    `ids` `[batch, n]` are global feature ids (int). `values` `[batch, n]` are the features' values; None if all are 1.
    With `kernels`, layers compute each distinct feature once. Without, they compute the same in more time.
    """

    def __init__(self, ids: Tensor, values: Tensor | None = None, kernels: bool = False) -> None:
        self.ids, self.values, self.kernels = ids, values, kernels

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_fields(self) -> int:
        return self.ids.shape[1]

    @cached_property
    def where(self) -> Occurrences:
        """Find which features occur, and where."""
        return Occurrences(*grouped(self.ids))

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
        values = None if self.values is None else self.values[:, columns]
        return Batch(self.ids[:, columns] - shift, values, self.kernels)
