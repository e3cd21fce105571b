"""Read sparse gradients, and call compiled functions that update the rows they touch."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from models.kernels.calls import in_parts


def rows_of(gradient: Any) -> tuple[Any, Tensor]:
    """Return a sparse gradient's distinct rows and values; None and all values of a dense one."""
    if not gradient.is_sparse:
        return None, gradient
    rows = gradient._indices()[0]
    if (rows[1:] > rows[:-1]).all():  # else two layers have touched the same rows
        return rows, gradient._values()
    return gradient.coalesce().indices()[0], gradient.coalesce().values()


def for_rows(function: Any, rows: Tensor, gradient: Tensor | None, tables: Sequence[Tensor], *more: Any) -> None:
    """Call a compiled function that updates some rows of tables of one shape."""
    num_rows = rows.shape[0]
    flat = [table if table.dim() == 2 else table.view(table.shape[0] if table.dim() else 1, -1) for table in tables]
    given = [] if gradient is None else [gradient.reshape(num_rows, -1)]
    in_parts(function, num_rows, num_rows * flat[0].shape[1], rows, *given, *flat, *more)


def at_rows(weight: Tensor, rows: Tensor | None) -> Tensor:
    return weight if rows is None else weight.index_select(0, rows)


def unhooked(step: Any) -> Any:
    """Keep torch's hooks and its profiler off `step`. They take a tenth of a small step."""
    step.hooked = True  # what torch would put there
    return step
