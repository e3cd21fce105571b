"""Check a space before a search, and list what is fixed and what is left."""

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from models import registry
from pipelines.project.params import Params
from pipelines.project.settings import RECIPE, Setting, resolve
from pipelines.training.cell import Cell
from search_spaces import shared
from search_spaces.shared import Space, file_of

OF_ANY_LOSS = ("auc", "logloss", "pr_auc", "group_auc")  # metrics that decide between models of different losses


def check_space(cell: Cell, space: Space, fixed: Setting, paper: Setting, *more: Setting) -> None:
    """Try tune.fixed, the paper's setting and other first settings, and the ends of a space.

    The ends are the lowest and the highest value of each range, and all choices. Raises ValueError that names
    tune.fixed or the file of the space, with the reason of model or training, and for several losses where the deciding
    metric depends on the loss itself.
    """
    file, losses = file_of(cell.model), set()
    start, *others = ({**fixed, **{key: setting[key] for key in space}} for setting in (paper, *more))
    tried = [
        ("tune.fixed", fixed),
        (f"{file}: PAPER", start),
        *(("tune.recipes or tune.known", setting) for setting in others),
    ]
    tried += [(f"{file}: SPACE[{key!r}]", {**start, key: value}) for key in space for value in ends(space[key])]
    fields, made = cell.schema["fields"], []
    for place, setting in tried:
        try:
            arguments, training = resolve(setting, cell.training)
            losses.add(training.loss)
            if arguments not in made:
                made.append(arguments)
                with torch.random.fork_rng(devices=[]):
                    registry.create(
                        cell.model, [2] * len(fields), arguments, fields
                    )  # the sizes of fields don't matter
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
    if len(losses) > 1 and (metric := cell.training.metric) not in OF_ANY_LOSS:
        raise ValueError(
            f"training.metric is {metric}, but trials would train by {' and '.join(sorted(losses))}: choose a metric "
            f"that compares losses ({', '.join(OF_ANY_LOSS)}), or one loss"
        )


def ends(distribution: Any) -> Iterator[Any]:
    """List the lowest and highest value of a range, or all choices."""
    yield from getattr(distribution, "choices", None) or (distribution.low, distribution.high)


def settings_left(space: Space, tried: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the settings of a finite space that were not tried; none of an infinite space."""
    values = [values_of(distribution) for distribution in space.values()]
    if None not in values:
        settings = (dict(zip(space, setting, strict=True)) for setting in itertools.product(*values))  # type: ignore[arg-type]
        yield from (setting for setting in settings if setting not in tried)


def num_settings(space: Space) -> float:
    """Count the settings of a space; infinity where a key is continuous."""
    values = [values_of(distribution) for distribution in space.values()]
    return math.prod(math.inf if each is None else len(each) for each in values)


def values_of(distribution: BaseDistribution) -> Sequence[Any] | None:
    """Return the values that a key can have; None for a continuous key."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    if isinstance(distribution, FloatDistribution) and distribution.step:
        num_steps = round((distribution.high - distribution.low) / distribution.step)
        steps = (step * distribution.step + distribution.low for step in range(num_steps + 1))
        return [min(value, distribution.high) for value in steps]
    return None


def fixed_setting(model: str, params: Params) -> dict[str, Any]:
    """Pick the part of tune.fixed that a model has, and the only recipe.

    Raises ValueError for a key that is in no search space.
    """
    known = known_keys()
    for key in params.tune.fixed:
        if key not in known:
            raise ValueError(f"tune.fixed: {key!r} is in no search space; known: {', '.join(sorted(known))}")
    fixed = {key: value for key, value in params.tune.fixed.items() if key in shared.get_space(model)}
    return {**fixed, RECIPE: "ctr"} if params.tune.recipes == ["ctr"] else fixed


def known_keys() -> set[str]:
    """Collect the keys of all search spaces. A wrong file stops only the search of its own model."""
    keys: set[str] = set()
    for name in registry.list_models():
        with contextlib.suppress(Exception):
            keys |= shared.get_space(name).keys()
    return keys
