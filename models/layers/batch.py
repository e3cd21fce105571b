"""Hold the rows that a model is called with."""

from functools import cached_property

from torch import Tensor, nn

from models.kernels.features import Occurrences, grouped


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

    def columns(self, columns: list[int], shift: Tensor | int = 0) -> "Batch":
        """Pick fields, and subtract `shift` `[fields]` from their ids."""
        values = None if self.values is None else self.values[:, columns]
        return Batch(self.ids[:, columns] - shift, values, self.kernels)


class OnTensors(nn.Module):
    """Call a model with tensors instead of a batch, for `torch.export` and ONNX.

    The wrapped model computes the plain formulas. Shape: ids and values `[batch, n]` → logits `[batch]`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.eval()

    def forward(self, ids: Tensor, values: Tensor | None = None) -> Tensor:
        return self.model(Batch(ids, values))
