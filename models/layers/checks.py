"""Check sizes."""

from torch import nn

NORMS = (nn.BatchNorm1d, nn.SyncBatchNorm)


def positive(**sizes: float) -> None:
    """Raise ValueError that names the first argument that is not above zero."""
    for name, size in sizes.items():
        if not size > 0:
            raise ValueError(f"{name} must be positive, got {size}")


def enough_rows(model: nn.Module, num_rows: int, batch_size: int) -> None:
    """Raise ValueError for batch norm with batches of one row.

    One row has no variance.
    """
    if min(num_rows, batch_size) < 2 and any(isinstance(module, NORMS) for module in model.modules()):
        raise ValueError(
            f"batch norm needs batches of two rows or more: training.batch_size is {batch_size}, for {num_rows} rows; "
            "raise it, or set model.batch_norm to false"
        )
