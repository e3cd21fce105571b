"""Make optimizers that update only the rows of a sparse gradient.

Each group of parameters has an L2 weight of its own.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adagrad import adagrad

from models.kernels.calls import in_parts, loops
from models.layers.embeddings import Table, tables
from pipelines.project.params import TrainingParams

TAKE = {  # for each L2 weight, the roles of the layers that take it
    "l2": {"embedding", "linear"},
    "l2_field": {"field_aspect"},
    "l2_attention": {"attention"},
}
INITIAL_ACCUMULATOR = 1e-8  # Adagrad's, as in the code released with NFM, AFM and IFM

Touched = tuple[nn.Parameter, Tensor | None, Tensor]  # a parameter, its rows (None: all) and their gradient


def spare_dynamo() -> None:
    """Keep torch from importing torch._dynamo when an optimizer is first used.

    The import takes 0.8 s of every process that trains, only to exclude the optimizer from compilation.
    """
    function = getattr(torch.optim.Optimizer.add_param_group, "__wrapped__", None)
    if function is not None:
        function.__dynamo_disable = function  # what torch would put there


spare_dynamo()


def unhooked(step: Any) -> Any:
    """Keep torch's hooks and its profiler off `step`. They take a tenth of a small step."""
    step.hooked = True  # what torch would put there
    return step


def forget_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Drop all gradients, without the profiler's record of `zero_grad`."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


def make_optimizer(model: nn.Module, training: TrainingParams) -> torch.optim.Optimizer:
    """Make the optimizer that `training` names.

    The penalty is λ ‖·‖² / 2. A layer's `role` says which λ its weights take; layers without a role take none. Raises
    ValueError for a λ that no layer of the model takes.
    """
    refuse_untaken(model, training)
    l2 = {role: getattr(training, key) for key, roles in TAKE.items() for role in roles}
    forget_optimizer(model)
    roles = roles_of(model)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        role = roles.get(parameter, "")
        weight = l2.get(role, 0.0)
        groups.setdefault((weight, weight > 0 and role in TAKE["l2"]), []).append(parameter)
    param_groups = [
        {"params": parameters, "weight_decay": weight, "composite": composite}
        for (weight, composite), parameters in groups.items()
    ]
    if training.optimizer == "ftrl":
        return FTRLProximal(param_groups, lr=training.learning_rate, l1=training.l1)
    if training.optimizer == "adagrad":
        late = tables(model) if training.l2_rows == "all" else []
        return Adagrad(param_groups, lr=training.learning_rate, late=late)
    if training.optimizer == "lazy_adam":
        return LazyAdam(param_groups, lr=training.learning_rate)
    return Adam(param_groups, lr=training.learning_rate, decoupled=training.optimizer == "adamw")


def refuse_untaken(model: nn.Module, training: TrainingParams) -> None:
    """Raise ValueError for an L2 weight that no layer of the model takes."""
    roles = {*roles_of(model).values()}
    for key, taking in TAKE.items():
        if getattr(training, key) and not taking & roles:
            taken = f"no layer of {type(model).__name__} takes it"
            raise ValueError(f"training.{key} is {getattr(training, key):g}, but {taken}: set it to 0")


def roles_of(model: nn.Module) -> dict[nn.Parameter, str]:
    """Map the weights of layers with a role to that role."""
    roles: dict[nn.Parameter, str] = {}
    for layer in model.modules():
        if isinstance(layer, Table):
            roles[layer.weight] = layer.role
        elif isinstance(role := getattr(layer, "role", None), str):
            roles |= dict.fromkeys(layer.parameters(), role)
    return roles


def forget_optimizer(model: nn.Module) -> None:
    """Detach the tables from an optimizer, so that reading changes no weight."""
    for table in tables(model):
        table.late = None


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
