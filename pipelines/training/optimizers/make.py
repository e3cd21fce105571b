"""Make the optimizer of a model: each group of parameters has an L2 weight of its own."""

import torch
from torch import nn

from models.layers.embeddings import Table, tables
from pipelines.project.params import TrainingParams
from pipelines.training.optimizers.adagrad import Adagrad
from pipelines.training.optimizers.adam import Adam, LazyAdam
from pipelines.training.optimizers.ftrl import FTRLProximal

TAKE = {  # for each L2 weight, the roles of the layers that take it
    "l2": {"embedding", "linear"},
    "l2_field": {"field_aspect"},
    "l2_attention": {"attention"},
}


def spare_dynamo() -> None:
    """Keep torch from importing torch._dynamo when an optimizer is first used.

    The import takes 0.8 s of every process that trains, only to exclude the optimizer from compilation.
    """
    function = getattr(torch.optim.Optimizer.add_param_group, "__wrapped__", None)
    if function is not None:
        function.__dynamo_disable = function  # what torch would put there


spare_dynamo()


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


def forget_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Drop all gradients, without the profiler's record of `zero_grad`."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


def forget_optimizer(model: nn.Module) -> None:
    """Detach the tables from an optimizer, so that reading changes no weight."""
    for table in tables(model):
        table.late = None
