"""Update weights by Adam, or of tables only the touched rows."""

from typing import Any

import torch
from torch import Tensor, nn

from models.kernels.calls import loops
from pipelines.training.optimizers.touched_rows import for_rows, rows_of, unhooked


class Adam(torch.optim.Adam):
    """Update every row by Adam (Kingma & Ba 2015), touched or not.

    The moments move those rows too. With `decoupled`, L2 is no part of the gradient: each step multiplies a weight by
    1 − lr λ (AdamW, Loshchilov & Hutter 2019).
    """

    def __init__(self, param_groups: Any, lr: float, decoupled: bool = False) -> None:
        super().__init__(param_groups, lr=lr, fused=True, decoupled_weight_decay=decoupled)

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update each weight that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    parameter.grad = parameter.grad.to_dense()
        super().step()


class LazyAdam(torch.optim.Adam):
    """Update only touched rows by Adam: another algorithm than `Adam`, and faster.

    In other rows the moments and L2 stand still.
    """

    def __init__(self, param_groups: Any, lr: float) -> None:
        super().__init__(param_groups, lr=lr, fused=True)
        self.num_steps = 0

    @unhooked
    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update each weight that has a gradient."""
        self.num_steps += 1
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    self.update_rows(parameter, *rows_of(parameter.grad), group)
                    parameter.grad = None
        super().step()

    def update_rows(self, parameter: nn.Parameter, rows: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, (beta_1, beta_2) = self.state[parameter], group["betas"]
        if not state:
            state.update(first=torch.zeros_like(parameter), second=torch.zeros_like(parameter))
        if parameter.device.type == "cpu":
            moments = state["first"], state["second"]
            step = self.num_steps, group["lr"], beta_1, beta_2, group["eps"], group["weight_decay"]
            for_rows(loops().lazy_adam, rows, gradient, (parameter, *moments), *step)
            return
        weight = parameter.index_select(0, rows)
        gradient = gradient.add(weight, alpha=group["weight_decay"])
        first = state["first"].index_select(0, rows).lerp_(gradient, 1 - beta_1)
        second = state["second"].index_select(0, rows).mul_(beta_2).addcmul_(gradient, gradient, value=1 - beta_2)
        size = group["lr"] / (1 - beta_1**self.num_steps)
        denominator = second.sqrt().div_((1 - beta_2**self.num_steps) ** 0.5).add_(group["eps"])
        parameter.index_copy_(0, rows, weight.addcdiv_(first, denominator, value=-size))
        state["first"].index_copy_(0, rows, first)
        state["second"].index_copy_(0, rows, second)
