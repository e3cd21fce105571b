"""Optimisers, with an L2 weight for each group of parameters."""

from typing import Any

import torch
from torch import nn

from pipelines.params import TrainingParams

INITIAL_ACCUMULATOR = 1e-8  # Adagrad's, as in the code released with NFM, AFM and IFM


def make_optimizer(model: nn.Module, training: TrainingParams) -> torch.optim.Optimizer:
    """The optimiser that `training` names, which adds the gradient of λ ‖·‖² / 2 of each L2 group to that of the loss
    (weight decay, as torch calls it)."""
    l2 = {
        "embedding": training.l2,
        "linear": training.l2,
        "field_aspect": training.l2_field,
        "attention": training.l2_attention,
    }
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        weight = 0.0 if name == "linear.bias" else l2.get(name.partition(".")[0], 0.0)
        groups.setdefault(weight, []).append(parameter)
    param_groups = [{"params": parameters, "weight_decay": weight} for weight, parameters in groups.items()]
    options: dict[str, Any] = {"lr": training.learning_rate}
    if training.optimizer == "ftrl":
        return FTRLProximal(param_groups, **options, l1=training.l1)
    if training.optimizer == "adam":
        return torch.optim.Adam(param_groups, **options, fused=True)
    on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
    options |= {
        "initial_accumulator_value": INITIAL_ACCUMULATOR,
        "fused": on_cpu,
    }  # torch fuses it on the CPU only
    return torch.optim.Adagrad(param_groups, **options)


class FTRLProximal(torch.optim.Optimizer):
    """FTRL-Proximal (McMahan et al. 2013, algorithm 1), with β = 1.

    `lr` is the paper's α, `l1` its λ_1 and `weight_decay` its λ_2.

    NOTE: the paper's weights start at zero. Here z starts so that each weight keeps its first value, which embeddings
    need, as the gradient of a product of zeros is zero.
    """

    BETA = 1.0

    def __init__(self, params: Any, lr: float, l1: float = 0.0, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "l1": l1, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of each weight that has a gradient."""
        for group in self.param_groups:
            alpha, l1, l2 = group["lr"], group["l1"], group["weight_decay"]
            for w in group["params"]:
                if w.grad is None:
                    continue
                state, g = self.state[w], w.grad
                if not state:
                    state["n"] = torch.zeros_like(w)
                    state["z"] = -w * (self.BETA / alpha + l2) - l1 * w.sign()
                n, z = state["n"], state["z"]
                sigma = ((n + g * g).sqrt() - n.sqrt()) / alpha
                z += g - sigma * w
                n += g * g
                shrunk = z.sign() * (z.abs() - l1).clamp(min=0)
                w.copy_(-shrunk / ((self.BETA + n.sqrt()) / alpha + l2))
