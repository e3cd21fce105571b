"""Pick fields by name, and compute the field aspect of interactions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.pairs import field_pairs

Needed = tuple[tuple[str, ...], ...]  # for each field that a model needs: the names it may have

USER, ITEM, TAG = ("user",), ("item", "movie", "app"), ("tag",)


def why_missing(needed: Needed, fields: Sequence[str]) -> str | None:
    """Return a message that names the missing fields, or None."""
    missing = [" or ".join(names) for names in needed if not set(names) & set(fields)]
    return f"needs a field {' and a field '.join(missing)}, got {', '.join(fields)}" if missing else None


def why_no_pairs(fields: Sequence[str]) -> str | None:
    """Return why data has no pairs of fields, or None."""
    return f"needs two fields or more, got {', '.join(fields) or 'none'}" if len(fields) < 2 else None


class NamedFields(nn.Module):
    """Pick the needed fields, and number their features from 0, field after field.

    `fields` names the fields of the data; None takes the first ones as user, item and tag. The attribute `field_dims`
    has the sizes of the picked fields. Raises ValueError if a needed field is missing.
    Shape: a batch of n fields → a batch of the needed fields.
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

    def forward(self, batch: Batch) -> Batch:
        return batch.columns(self.columns, self.shift)


class FieldAspect(nn.Module):
    """Compute the field aspect of each pair of fields.

    F_{f_i, f_j} = Dᵀ (U_{f_i} ⊙ U_{f_j}) (IFM, eq. 6). U and D are drawn from N(0, 1). Raises ValueError for a size
    that is not positive. Shape: → `[P, K]`.
    """

    role = "field_aspect"

    def __init__(self, num_fields: int, embed_dim: int, field_embed_dim: int) -> None:
        super().__init__()
        positive(field_embed_dim=field_embed_dim)
        self.U = nn.Parameter(torch.randn(num_fields, field_embed_dim))
        self.D = nn.Parameter(torch.randn(field_embed_dim, embed_dim))
        self.num_fields = num_fields

    def forward(self) -> Tensor:
        i, j = field_pairs(self.num_fields)
        return (self.U[i] * self.U[j]) @ self.D


class FreeFieldAspect(nn.Module):
    """Hold IFM⁻'s field aspect F_{f_i, f_j}, which is not factorised (eq. 4).

    F is drawn from N(0, variance). Shape: → `[P, K]`.
    """

    role = "field_aspect"

    def __init__(self, num_fields: int, embed_dim: int, variance: float) -> None:
        super().__init__()
        self.F = nn.Parameter(torch.randn(num_fields * (num_fields - 1) // 2, embed_dim) * variance**0.5)

    def forward(self) -> Tensor:
        return self.F
