"""Compute the behaviour that results depend on: figures of tiny trainings in float64.

A person accepts the figures, which then stand in `behaviour/`. They change with anything that decides a result (an
equation, a kernel, an optimizer, a first weight, a default). They stay when code is only moved or renamed.
NOTE: the real first weights are used, because torch draws the same float64 numbers on all CPUs; a test checks this.
"""

import functools
import inspect
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from models import registry
from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, LinearTerms, written_out
from pipelines.project.golden_files import SEED, Figures, accepted, differences, digest_of, golden_file, golden_names
from pipelines.project.metric import EVERY_EPOCH, METRICS
from pipelines.project.params import TrainingParams
from pipelines.project.seeds import seed_for
from pipelines.project.settings import RECIPES
from pipelines.training.loop import train
from pipelines.training.metrics import compute_metrics, on_resamples
from pipelines.training.small import TRAINING, figures, splits, trained
from search_spaces import shared

OPTIMIZERS: tuple[str, ...] = get_args(TrainingParams.model_fields["optimizer"].annotation)

SOONER = {"batch_size": 64, "learning_rate": 0.3, "gradient_clip": 5.0, "max_epochs": 12}  # for recipes
L1 = 0.01  # of FTRL-proximal, which alone has it


def in_float64(compute: Callable[[], Any]) -> Any:
    """Call a function with float64 as the default type, and restore torch's state."""
    dtype, state, threads = torch.get_default_dtype(), torch.get_rng_state(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)  # more threads would only wait for each other
    try:
        return compute()
    finally:
        torch.set_default_dtype(dtype)
        torch.set_rng_state(state)
        torch.set_num_threads(threads)


def figures_of(
    model: str, data: str, arguments: Mapping[str, Any], changes: Mapping[str, Any], **start: Any
) -> Figures:
    """Train a model, and return its figures."""
    net, epochs = trained(model, data, arguments, TRAINING.model_copy(update=dict(changes)), start.get("start"))
    return figures(net, epochs, splits()[data])


def variants(model: str) -> Iterator[tuple[str, tuple[str, dict[str, Any], dict[str, Any]]]]:
    """List the trainings that together reach every path of a model.

    Each has a name; then the data, the model's arguments and the changes of `TRAINING`.
    """
    known = registry.hyperparameters(model)
    types = inspect.get_annotations(registry.get_model(model).__init__)
    dropout, no_dropout = ({key: share for key in known if "dropout" in key} for share in (0.4, 0.0))
    yield "defaults", ("few features", {}, {})
    yield "plain kernels", ("few features", dropout, {"kernels": "plain"})
    yield "cross-entropy", ("few features", dropout, {"loss": "cross_entropy"})
    yield "no dropout", ("few features", no_dropout, {})
    yield "many features", ("many features", dropout, {})
    yield "many features, no dropout", ("many features", no_dropout, {})
    yield "values", ("values", dropout, {})
    for key, default in known.items():
        choices = (False, True) if types[key] is bool else get_args(types[key])
        for choice in choices if isinstance(default, bool | str) else ():
            if choice != default:
                yield f"{key}: {choice}", ("few features", {key: choice}, {})


def model_behaviour(model: str) -> Figures:
    """Return a model's defaults and the figures of its trainings."""
    trainings = {name: figures_of(model, *variant) for name, variant in variants(model)}
    if model != "fm":
        start = trained("fm", "few features", {}, TRAINING, None)[0].state_dict()
        trainings["from fm"] = figures_of(model, "few features", {}, {}, start=start)
    return {"defaults": registry.hyperparameters(model), "trainings": trainings}


def space_behaviour(model: str) -> Figures:
    """Return a model's search space, and the paper's setting by family of data sets."""
    space = {
        key: {"name": type(distribution).__name__, **distribution._asdict()}
        for key, distribution in shared.get_space(model).items()
    }
    families = {family: shared.paper_setting(model, family) for family in ("any other", *shared.PAPER_BY_FAMILY)}
    return {"space": space, "paper": families}


class Layer(nn.Linear):
    """Give a linear layer a role."""

    def __init__(self, role: str, inputs: int, units: int) -> None:
        super().__init__(inputs, units)
        self.role = role


class PlainModel(nn.Module):
    """Be the smallest model that has weights of all roles.

    With it, the behaviour of optimizers does not depend on a real model's equation.

    Shape: → logits `[batch]`.
    """

    def __init__(self, field_dims: list[int]) -> None:
        super().__init__()
        self.linear, self.embedding = LinearTerms(field_dims), FeatureEmbedding(field_dims, embed_dim=4)
        self.field_aspect, self.attention = Layer("field_aspect", 4, 3), Layer("attention", 3, 2)
        self.other = nn.Linear(2, 1)

    def forward(self, batch: Batch) -> Tensor:
        hidden = torch.tanh(self.attention(self.field_aspect(written_out(self.embedding(batch)).sum(1))))
        return self.linear(batch) + self.other(hidden)[:, 0]


def optimizer_behaviour(optimizer: str) -> Figures:
    """Train the plain model with an optimizer, with and without kernels, and return its figures."""
    changes = [{"optimizer": optimizer, "kernels": kernels} for kernels in ("fast", "plain")]
    if optimizer == "adagrad":
        changes = [{**change, "l2_rows": rows} for change in changes for rows in ("all", "touched")]
    split, found = splits()["few features"], {}
    for change in changes:
        torch.manual_seed(SEED)
        model = PlainModel(split.schema["field_dims"])
        training = TRAINING.model_copy(update={**change, "l1": L1 if optimizer == "ftrl" else 0.0})
        epochs = train(model, split.train, split.valid, training)
        found[", ".join(list(change.values())[1:])] = figures(model, epochs, split)
    return found


def recipes_behaviour() -> Figures:
    """Train the plain model by each recipe but the paper's, and return parameters and figures.

    On so few rows, its schedule and its limit of gradients act only with a higher rate and a lower limit.
    """
    split, found = splits()["few features"], {}
    for recipe, changes in RECIPES.items():
        if changes:
            torch.manual_seed(SEED)
            model = PlainModel(split.schema["field_dims"])
            training = TRAINING.model_copy(update={**changes, **SOONER})
            epochs = train(model, split.train, split.valid, training)
            found[recipe] = {"training": dict(changes), "figures": figures(model, epochs, split)}
    return found


def protocol_behaviour() -> Figures:
    """Compute metrics of fixed logits, seeds of some keys, and the defaults of training."""
    rng = np.random.default_rng(SEED)
    labels = torch.tensor(np.where(rng.random(50) < 0.4, 1.0, -1.0))
    logits = torch.tensor(rng.normal(size=50).round(1)) + labels  # rounded: some tie
    return {
        "metrics": {loss: compute_metrics(logits, labels, loss) for loss in ("squared_error", "cross_entropy")},
        "seeds": [seed_for(SEED), seed_for(SEED, "tune", "frappe", "ifm", 3), seed_for(1, "evaluate", "x", "fm", 0)],
        "defaults": TrainingParams().model_dump(),
    }


def metrics_behaviour() -> Figures:
    """Compute the metrics that are not of every epoch, of fixed logits and of resamples."""
    rng = np.random.default_rng(SEED)
    labels = torch.tensor(np.where(rng.random(200) < 0.4, 1.0, -1.0))
    logits, groups = torch.tensor(rng.normal(size=200).round(1)) + labels, torch.tensor(rng.integers(30, size=200))
    names = [name for name in METRICS if name not in EVERY_EPOCH]
    return {
        "metrics": {
            loss: compute_metrics(logits, labels, loss, names, groups) for loss in ("squared_error", "cross_entropy")
        },
        "resamples": {name: on_resamples(name, logits, labels, "cross_entropy", SEED, 5, groups) for name in names},
    }


def behaviours() -> dict[str, Callable[[], Figures]]:
    """Map the name of each golden file to the function that computes it.

    `pipelines.behaviour` adds the files of the stages.
    """
    models = registry.list_models()
    return {
        "protocol": protocol_behaviour,
        "metrics": metrics_behaviour,
        "recipes": recipes_behaviour,
        **{f"optimizers/{name}": functools.partial(optimizer_behaviour, name) for name in OPTIMIZERS},
        **{name: functools.partial(model_behaviour, name) for name in models},
        **{f"spaces/{name}": functools.partial(space_behaviour, name) for name in models},
    }


def today(compute: Callable[[], Figures]) -> Figures:
    """Compute figures as a golden file holds them."""
    return json.loads(json.dumps(in_float64(compute)), parse_float=lambda text: float(f"{float(text):.12g}"))


@functools.cache
def digest(name: str) -> str:
    """Compute twelve digits that stand for one behaviour of the running code.

    Where the golden file agrees with the code, the digits are the file's.
    """
    figures, known = today(behaviours()[name]), accepted(name)
    if known is None:  # a new model
        return digest_of(figures)
    if differences(known, figures):
        logging.getLogger(__name__).warning(
            "the behaviour of %s is not that of %s: python -m pipelines.behaviour %s shows how",
            name,
            golden_file(name),
            name,
        )
        return digest_of(figures)
    return digest_of(known)


def behaviour_of(model: str, training: TrainingParams) -> str:
    """Compute twelve digits that stand for all behaviour that a training run depends on."""
    return digest_of([digest(name) for name in golden_names(model, training)])
