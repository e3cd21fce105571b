"""Update weights by FTRL-Proximal."""

from typing import Any

import torch

from models.kernels.calls import loops
from pipelines.training.optimizers.touched_rows import for_rows, rows_of, unhooked


class FTRLProximal(torch.optim.Optimizer):
    """Update touched rows by FTRL-Proximal (McMahan et al. 2013, algorithm 1), with β = 1.

    `lr` is the paper's α, `l1` its λ_1 and `weight_decay` its λ_2. A row without a gradient does not change.

    NOTE: the paper's weights start at zero. Here z starts so that each weight keeps its first value, which embeddings
    need, as the gradient of a product of zeros is zero.
    """

    BETA = 1.0

    def __init__(self, params: Any, lr: float, l1: float = 0.0, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "l1": l1, "weight_decay": weight_decay})

    @unhooked
    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update each weight that has a gradient."""
        for group in self.param_groups:
            alpha, l1, l2 = group["lr"], group["l1"], group["weight_decay"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["n"] = torch.zeros_like(parameter)
                    state["z"] = -parameter * (self.BETA / alpha + l2) - l1 * parameter.sign()
                rows, g = rows_of(parameter.grad)
                if rows is not None and parameter.device.type == "cpu":
                    sums = state["n"], state["z"]
                    for_rows(loops().ftrl, rows, g, (parameter, *sums), alpha, self.BETA, l1, l2)
                    continue
                rows = ... if rows is None else rows
                w, n, z = parameter[rows], state["n"][rows], state["z"][rows]
                z = z + g - ((n + g * g).sqrt() - n.sqrt()) / alpha * w
                n = n + g * g
                shrunk = z.sign() * (z.abs() - l1).clamp(min=0)
                state["n"][rows], state["z"][rows] = n, z
                parameter[rows] = -shrunk / ((self.BETA + n.sqrt()) / alpha + l2)
