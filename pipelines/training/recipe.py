"""Change the learning rate between epochs, and limit the gradient of a step."""

from collections.abc import Callable

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

from pipelines.project.params import TrainingParams
from pipelines.training.optimizers.touched_rows import rows_of


def make_schedule(optimizer: torch.optim.Optimizer, training: TrainingParams) -> Callable[[float], None]:
    """Make a function that sets the next epoch's learning rate.

    It takes the score of the epoch before; lower is better.
    """
    if training.lr_schedule == "plateau":
        return ReduceLROnPlateau(
            optimizer,
            factor=training.lr_factor,
            patience=training.lr_patience - 1,
            threshold=0.0,
            min_lr=training.lr_floor,
            eps=0.0,
        ).step
    if training.lr_schedule == "cosine":
        cosine = CosineAnnealingLR(optimizer, training.max_epochs, training.lr_floor)
        return lambda score: cosine.step()
    return lambda score: None


@torch.no_grad()
def clip_gradient(model: nn.Module, largest: float) -> None:
    """Scale the gradient of all parameters together, so that its norm is at most `largest`.

    The gradient is that of the loss summed over the batch, without the L2 penalty.
    """
    values = []
    for parameter in model.parameters():
        if parameter.grad is not None:
            rows, gradient = rows_of(parameter.grad)
            values.append(gradient)
            if rows is not None:
                parameter.grad = torch.sparse_coo_tensor(rows[None], gradient, parameter.shape, check_invariants=False)
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(each) for each in values]))
    scale = (largest / norm).clamp(max=1.0)
    for each in values:
        each.mul_(scale)
