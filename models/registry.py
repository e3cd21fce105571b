"""Find models by name: `models/NAME.py` holds the class registered as NAME."""

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ConfigDict, ValidationError, create_model
from torch import nn

import models

ModelClass = TypeVar("ModelClass", bound=type[nn.Module])

_REGISTRY: dict[str, type[nn.Module]] = {}


def register_model(cls: ModelClass) -> ModelClass:
    """Register a model class under the name of its file.

    A model is a module `Model(field_dims, *, hyperparameters with the paper's defaults)`. It maps a
    `models.layers.batch.Batch` to logits `[batch]`. It is trained by gradients, unless it has a method
    `fit(batch, labels, loss)`, which fits it to all training rows at once, in closed form.
    """
    _REGISTRY[cls.__module__.rpartition(".")[2]] = cls
    return cls


def list_models() -> list[str]:
    """Import every file of the package and return the models' names, sorted."""
    for module in pkgutil.iter_modules(models.__path__):
        importlib.import_module(f"models.{module.name}")
    return sorted(_REGISTRY)


def get_model(name: str) -> type[nn.Module]:
    """Return the class of the model `name`, importing only its own file.

    Raises ValueError, which lists the names, for an unknown one.
    """
    if name.isidentifier() and importlib.util.find_spec(f"models.{name}"):
        importlib.import_module(f"models.{name}")
    if name not in _REGISTRY:
        raise ValueError(f"unknown model {name!r}; choose one of: {', '.join(list_models())}")
    return _REGISTRY[name]


def is_closed_form(model: nn.Module | type[nn.Module]) -> bool:
    """Tell whether a model has a method `fit`, which fits it without gradients."""
    return hasattr(model, "fit")


def hyperparameters(name: str) -> dict[str, Any]:
    """Return a model's keyword arguments with their defaults, the paper's setting."""
    parameters = inspect.signature(get_model(name)).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "fields"}


def why_declined(name: str, fields: Sequence[str]) -> str | None:
    """Return why a model can't be used on data with these fields, or None.

    The reason comes from the model's static method `decline(fields)`.
    """
    decline = getattr(get_model(name), "decline", None)
    return decline(tuple(fields)) if decline else None


def create(
    name: str, field_dims: Sequence[int], settings: Mapping[str, Any], fields: Sequence[str] | None = None
) -> nn.Module:
    """Create a model with random weights from torch's global generator.

    `fields` are the names of the fields, for a model that has an argument of that name. Raises ValueError for an
    unknown hyperparameter (it lists the known ones), a wrong type or value, or fields that the model declines.
    """
    cls, known = get_model(name), hyperparameters(name)
    for key in settings:
        if key not in known:
            raise ValueError(f"{name} has no hyperparameter {key!r}; it has: {', '.join(known) or 'none'}")
    if fields and (reason := why_declined(name, fields)):
        raise ValueError(f"{name}: {reason}")
    types = inspect.get_annotations(cls.__init__)
    schema: dict[str, Any] = {key: (types.get(key, Any), default) for key, default in known.items()}
    try:
        checked = create_model(name, __config__=ConfigDict(strict=True), **schema)(**settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{name}: {first['loc'][0]}: {first['msg']} (got {first['input']!r})") from error
    names = {"fields": tuple(fields)} if fields and "fields" in inspect.signature(cls).parameters else {}
    try:
        return cls(tuple(field_dims), **dict(checked), **names)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
