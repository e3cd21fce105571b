"""Update weights by Adagrad."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adagrad import adagrad

from models.kernels.calls import loops
from models.layers.embeddings import Table
from pipelines.training.optimizers.touched_rows import at_rows, for_rows, rows_of, unhooked

INITIAL_ACCUMULATOR = 1e-8  # Adagrad's, as in the code released with NFM, AFM and IFM

Touched = tuple[nn.Parameter, Tensor | None, Tensor]  # a parameter, its rows (None: all) and their gradient


class Adagrad(torch.optim.Adagrad):
    """Update weights by Adagrad (Duchi et al. 2011), of tables only the touched rows.

    In the groups `composite`, which hold the weights of features, L2 acts as in the paper's composite step: with
    H = √Σ g² + ε, each step takes w to (w − lr g / H) / (1 + lr λ / H), and λ is not in Σ g². In the tables `late`, a
    row that k batches did not touch is divided by (1 + lr λ / H)ᵏ when it is next read. In other tables L2 acts only on
    touched rows: another regulariser, weaker on rare features. In other groups λ w is part of the gradient, as in the
    code released with IFM.
    """

    def __init__(self, param_groups: Any, lr: float, late: Sequence[Table] = ()) -> None:
        super().__init__(param_groups, lr=lr, initial_accumulator_value=INITIAL_ACCUMULATOR)
        composite = {
            parameter: group for group in self.param_groups if group["composite"] for parameter in group["params"]
        }
        for table in late:
            if table.weight in composite:
                table.late = LateDecay(self, table.weight, composite[table.weight])
        self.num_steps, self.no_steps = 0, torch.zeros(0, dtype=torch.int64)

    @unhooked
    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update each weight that has a gradient."""
        self.num_steps += 1
        for group in self.param_groups:
            by_torch = []
            for parameter in group["params"]:
                if parameter.grad is not None:
                    rows, gradient = rows_of(parameter.grad)
                    if parameter.device.type == "cpu":
                        self.update_rows(parameter, rows, gradient, group)
                    else:
                        by_torch.append((parameter, rows, gradient))
            if by_torch:
                self.update(by_torch, group)

    def update_rows(self, parameter: nn.Parameter, rows: Any, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if "all" not in state and rows is None:
            state["all"] = torch.arange(parameter.shape[0] if parameter.dim() else 1)
        rows = state["all"] if rows is None else rows
        steps = state.get("steps", self.no_steps)
        step = self.num_steps, group["lr"], group["eps"], group["weight_decay"], group["composite"]
        for_rows(loops().adagrad, rows, gradient, (parameter, state["sum"]), steps, *step)

    def update(self, touched: list[Touched], group: dict[str, Any]) -> None:
        states = [self.state[parameter] for parameter, _, _ in touched]
        weights = [at_rows(parameter, rows) for parameter, rows, _ in touched]
        totals = [at_rows(state["sum"], rows) for state, (_, rows, _) in zip(states, touched, strict=True)]
        adagrad(
            weights,
            [gradient for _, _, gradient in touched],
            totals,
            [state["step"] for state in states],  # which nothing depends on without lr_decay
            lr=group["lr"],
            eps=group["eps"],
            lr_decay=0.0,
            weight_decay=0.0 if group["composite"] else group["weight_decay"],
            maximize=False,
        )
        for (parameter, rows, _), state, weight, total in zip(touched, states, weights, totals, strict=True):
            if group["composite"]:
                H = total.sqrt().add_(group["eps"])
                weight.div_((group["lr"] * group["weight_decay"] / H).add_(1))
            if rows is not None:
                parameter.index_copy_(0, rows, weight)
                state["sum"].index_copy_(0, rows, total)
            if "steps" in state:
                state["steps"][... if rows is None else rows] = self.num_steps


class LateDecay:
    """Apply to a row, when it is read, the decay of steps that skipped it."""

    def __init__(self, optimizer: Adagrad, weight: nn.Parameter, group: dict[str, Any]) -> None:
        self.optimizer, self.group, self.state = optimizer, group, optimizer.state[weight]
        self.state["steps"] = torch.zeros(len(weight), dtype=torch.int64, device=weight.device)

    @torch.no_grad()
    def settle(self, weight: nn.Parameter, rows: Tensor) -> None:
        """Bring these rows up to date."""
        state, group, num_steps = self.state, self.group, self.optimizer.num_steps
        if weight.device.type == "cpu":
            size = num_steps, group["lr"], group["eps"], group["weight_decay"]
            for_rows(loops().settle, rows, None, (weight, state["sum"]), state["steps"], *size)
            return
        late = num_steps - state["steps"][rows]
        rows, late = rows[late > 0], late[late > 0].to(weight.dtype)
        H = state["sum"].index_select(0, rows).sqrt_().add_(group["eps"])
        log_decay = (group["lr"] * group["weight_decay"] / H).log1p_()
        decay = log_decay.mul_(-late.view(-1, *[1] * (weight.dim() - 1))).exp_()
        weight.index_copy_(0, rows, weight.index_select(0, rows).mul_(decay))
        state["steps"][rows] = num_steps
