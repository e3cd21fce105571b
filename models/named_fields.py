"""Fields found by their names, for the models that are about users, items and tags."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

Needed = tuple[tuple[str, ...], ...]  # the fields that a model needs, each by any of its names

USER, ITEM, TAG = ("user",), ("item", "movie", "app"), ("tag",)


def why_missing(needed: Needed, fields: Sequence[str]) -> str | None:
    """Which of the needed fields are not there; None if all are."""
    missing = [" or ".join(names) for names in needed if not set(names) & set(fields)]
    return f"needs a field {' and a field '.join(missing)}, got {', '.join(fields)}" if missing else None


class NamedFields(nn.Module):
    """Picks the needed fields, and numbers their features from 0, field after field.

    `fields` names the fields of the data; None takes the first as user, item and tag. `field_dims` becomes the sizes of
    the picked fields. Raises ValueError when one is not there. Shape: x `[batch, n]` of global feature ids, values
    `[batch, n]` or None → both `[batch, needed]`.
    """

    shift: Tensor

    def __init__(self, field_dims: Sequence[int], needed: Needed, fields: Sequence[str] | None) -> None:
        super().__init__()
        if fields and (reason := why_missing(needed, fields)):
            raise ValueError(reason)
        if len(field_dims) < len(needed):
            raise ValueError(f"needs {len(needed)} fields or more, got {len(field_dims)}")
        names = list(fields or ("user", "item", "tag"))
        self.columns = [next(names.index(name) for name in choice if name in names) for choice in needed]
        self.field_dims = [field_dims[column] for column in self.columns]
        shift = [sum(field_dims[:column]) - sum(self.field_dims[:k]) for k, column in enumerate(self.columns)]
        self.register_buffer("shift", torch.tensor(shift), persistent=False)

    def forward(self, x: Tensor, values: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return x[:, self.columns] - self.shift, None if values is None else values[:, self.columns]
