"""Find models by name: `models/NAME.py` holds the class registered as NAME."""

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ConfigDict, ValidationError, create_model
from torch import nn

import models

ModelClass = TypeVar("ModelClass", bound=type[nn.Module])

_REGISTRY: dict[str, type[nn.Module]] = {}
NO_LISTS = "it can't be fitted to fields that hold lists"
YEAR = re.compile(r"\b(?:19|20)\d\d\b")
FOLDER, HERE = Path(models.__path__[0]), Path(__file__).stem


def register_model(cls: ModelClass) -> ModelClass:
    """Register a model class under the name of its file.

    A model is a module `Model(field_dims, *, hyperparameters with the paper's defaults)`. It maps a
    `models.layers.batch.Batch` to logits `[batch]`. It is trained by gradients, unless it has one of two other methods.
    `fit(batch, labels, loss)` fits it to all training rows at once, in closed form. Or
    `boost(batch, labels, weights, valid, loss, learning_rate)` yields after each epoch the mean training loss and the
    logits of the batch `valid`; then `keep(num_epochs)` makes the weights of so many epochs. A model that averages k
    members also has `members(batch, loss)`, which gives their logits `[batch, k]`: the mean of the members' losses is
    the loss that is minimised. Raises ValueError for a second class in a file.
    """
    name = cls.__module__.rpartition(".")[2]
    other = _REGISTRY.get(name, cls)
    if other.__qualname__ != cls.__qualname__:
        both = f"{other.__qualname__} and {cls.__qualname__}"
        raise ValueError(f"{both} are both registered: a file has one model")
    _REGISTRY[name] = cls
    return cls


def list_models() -> list[str]:
    """Return the names of all models, sorted, without those whose files are wrong."""
    return sorted(name for name in _names() if isinstance(_load(name), type))


def get_model(name: str) -> type[nn.Module]:
    """Return the class of the model `name`, importing only its own file.

    Raises ValueError, which lists the names, for an unknown one; also for a wrong file, which it names.
    """
    if name not in _REGISTRY and name not in _names():  # listing the folder takes a millisecond
        raise ValueError(f"unknown model {name!r}; choose one of: {', '.join(list_models())}")
    loaded = _load(name)
    if isinstance(loaded, type):
        return loaded
    raise ValueError(loaded)


def _names() -> list[str]:
    """List the files that should have a model: all of this folder but this one."""
    return [module.name for module in pkgutil.iter_modules(models.__path__) if not module.ispkg and module.name != HERE]


def _load(name: str) -> type[nn.Module] | str:
    """Import a model's file. Returns its class, or what is wrong with the file."""
    file = FOLDER / f"{name}.py"
    try:
        importlib.import_module(f"models.{name}")
    except SyntaxError as error:
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    except Exception as error:
        _REGISTRY.pop(name, None)
        return f"{file} can't be imported: {type(error).__name__}: {error}"
    return _REGISTRY.get(name, f"{file} registers no model: put @register_model above its class")


class About(NamedTuple):
    """Hold what readers of results want to know of a model."""

    family: str  # the class's `family`; "other" without it
    year: int | None
    source: str  # as in the first line of the file
    equation: str  # the docstring of the class


def about(name: str) -> About:
    """Say to which family a model belongs, and from which paper and year it is."""
    cls = get_model(name)
    line = (inspect.getdoc(sys.modules[cls.__module__]) or "").partition("\n\n")[0]
    source = next((text for text in re.findall(r"\(([^()]+)\)", line) if YEAR.search(text)), "")
    year = YEAR.search(source)
    return About(getattr(cls, "family", "other"), int(year[0]) if year else None, source, inspect.getdoc(cls) or "")


def is_closed_form(model: nn.Module | type[nn.Module]) -> bool:
    """Tell whether a model has a method `fit`, which fits it without gradients."""
    return hasattr(model, "fit")


def is_boosted(model: nn.Module | type[nn.Module]) -> bool:
    """Tell whether a model has a method `boost`, which trains it without gradients."""
    return hasattr(model, "boost")


def is_by_gradient(model: nn.Module | type[nn.Module]) -> bool:
    """Tell whether a model is trained by gradients."""
    return not (is_closed_form(model) or is_boosted(model))


def hyperparameters(name: str) -> dict[str, Any]:
    """Return a model's keyword arguments with their defaults, the paper's setting."""
    parameters = inspect.signature(get_model(name)).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "fields"}


def why_declined(name: str, fields: Sequence[str], lists: bool = False) -> str | None:
    """Return why a model can't be used on data with these fields, or None.

    `lists` says whether some of them hold lists, which only tables of weights know. Other reasons come from the model's
    static method `decline(fields)`.
    """
    model = get_model(name)
    if lists and not is_by_gradient(model):
        return NO_LISTS
    decline = getattr(model, "decline", None)
    return decline(tuple(fields)) if decline else None


def check_settings(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return all hyperparameters of a model, with defaults for those that `settings` lacks.

    Raises ValueError for an unknown hyperparameter (it lists the known ones) or a wrong type.
    """
    known, types = hyperparameters(name), inspect.get_annotations(get_model(name).__init__)
    for key in settings:
        if key not in known:
            raise ValueError(f"{name} has no hyperparameter {key!r}; it has: {', '.join(known) or 'none'}")
    schema: dict[str, Any] = {key: (types.get(key, Any), default) for key, default in known.items()}
    config = ConfigDict(strict=True, allow_inf_nan=False)
    try:
        return dict(create_model(name, __config__=config, **schema)(**settings))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{name}: {first['loc'][0]}: {first['msg']} (got {first['input']!r})") from error


def create(
    name: str, field_dims: Sequence[int], settings: Mapping[str, Any], fields: Sequence[str] | None = None
) -> nn.Module:
    """Create a model with random weights from torch's global generator.

    `fields` are the names of the fields, for a model that has an argument of that name. Raises ValueError for an
    unknown hyperparameter (it lists the known ones), a wrong type or value, or fields that the model declines.
    """
    cls, checked = get_model(name), check_settings(name, settings)
    if fields and (reason := why_declined(name, fields)):
        raise ValueError(f"{name}: {reason}")
    names = {"fields": tuple(fields)} if fields and "fields" in inspect.signature(cls).parameters else {}
    try:
        return cls(tuple(field_dims), **checked, **names)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
