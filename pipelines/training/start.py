"""Make a new model, with random weights or with a trained model's."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import registry
from models.layers.embeddings import FeatureEmbedding, FieldAwareEmbedding
from pipelines.project.params import Params
from pipelines.project.paths import Paths
from pipelines.project.records import Record, read_record
from pipelines.training.process import best_device

PRETRAINED = ("embedding.", "linear.")  # what a run starts from where training.pretrained is set


class Recipe(Record):
    """Hold the digits that stand for the origin of pretrained weights."""

    fingerprint: str


def new_model(
    name: str,
    schema: Mapping[str, Any],
    arguments: Mapping[str, Any],
    seed: int,
    pretrained: Mapping[str, Tensor] | None = None,
    device: str | None = None,
) -> nn.Module:
    """Make a model for the data of `schema`, with weights drawn by `seed`.

    With `pretrained`, embeddings and linear terms are the trained model's. A field-aware model has several vectors for
    each feature; all of them start as the trained model's one.

    Raises ValueError for arguments that the model does not take, or an embed_dim other than the trained one's.
    """
    torch.manual_seed(seed)
    model = registry.create(name, schema["field_dims"], arguments, fields=schema["fields"])
    embedding = getattr(model, "embedding", None)
    if pretrained and isinstance(embedding, FeatureEmbedding | FieldAwareEmbedding):  # lr has nothing to start
        if isinstance(embedding, FieldAwareEmbedding):  # [num_features, n * embed_dim]
            vectors = pretrained["embedding.weight"].repeat(1, embedding.num_fields)
            pretrained = {**pretrained, "embedding.weight": vectors}
        own = model.state_dict()
        start = {key: value for key, value in pretrained.items() if key.startswith(PRETRAINED) and key in own}
        for key, value in start.items():
            if own[key].shape != value.shape:
                raise ValueError(f"pretrained {key} is {list(value.shape)}, but {name}'s is {list(own[key].shape)}")
        model.load_state_dict({**own, **start})
    return model.to(device or best_device())


def check_pretrain(params: Params) -> None:
    """Raise ValueError for an unknown key or a wrong type under pretrain.model."""
    try:
        registry.check_settings(params.training.pretrained or "fm", params.pretrain.model)
    except ValueError as error:
        raise ValueError(f"pretrain.model: {error}") from error


def num_params(model: nn.Module) -> int:
    """Count a model's parameters without batch norm's, as the IFM paper's #PARAM does."""
    norms = (module for module in model.modules() if isinstance(module, nn.BatchNorm1d))
    left_out = sum(parameter.numel() for norm in norms for parameter in norm.parameters())
    return sum(parameter.numel() for parameter in model.parameters()) - left_out


def pretrained_file(model: str, dataset: str, params: Params, paths: Paths) -> Path | None:
    """Find the weights that a model starts from, if training.pretrained names another model.

    Raises ValueError when the file is missing.
    """
    if params.training.pretrained in (None, model):
        return None
    path = paths.pretrained(dataset) / f"{params.training.pretrained}.pt"
    if not path.exists():
        raise ValueError(f"no {path}: run python -m pipelines.pretrain --dataset {dataset}")
    return path


def load_recipe(folder: Path) -> str:
    """Read the digits that stand for the origin of pretrained weights. Raises ValueError without them."""
    command = f"python -m pipelines.pretrain --dataset {folder.name}"
    return read_record(folder / "recipe.json", Recipe, command).fingerprint


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights that `pretrain` wrote.

    Raises ValueError for a file with anything else, and runs no code from it.
    """
    cause = None
    try:
        with warnings.catch_warnings(action="ignore"):  # about other formats, which are an error here
            weights = torch.load(path, map_location="cpu", weights_only=True)
        if are_weights(weights):
            return weights
    except OSError:
        raise
    except Exception as error:  # of a dozen types, with texts of many lines
        cause = error
    raise ValueError(
        f"{path} is damaged or no checkpoint: run python -m pipelines.pretrain --dataset {path.parent.name}"
    ) from cause


def are_weights(content: Any) -> bool:
    """Tell whether an object is a dict of tensors that other models can start from."""
    return (
        isinstance(content, dict)
        and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())
        and "embedding.weight" in content
    )
