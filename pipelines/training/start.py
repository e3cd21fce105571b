"""Make a new model, with random weights or those of a trained one."""

import json
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
from pipelines.training.process import best_device

PRETRAINED = ("embedding.", "linear.")  # what a run starts from where training.pretrained is set


def new_model(
    name: str,
    schema: Mapping[str, Any],
    arguments: Mapping[str, Any],
    seed: int,
    pretrained: Mapping[str, Tensor] | None = None,
    device: str | None = None,
) -> nn.Module:
    """A model for the data of `schema`, with weights from `seed`, its embeddings and linear terms those of a trained
    model, if given; all n vectors that a field-aware model has for a feature start as the trained one's.

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


def num_params(model: nn.Module) -> int:
    """How many numbers a model learns, those of batch norm left out, as in the IFM paper's #PARAM."""
    norms = (module for module in model.modules() if isinstance(module, nn.BatchNorm1d))
    left_out = sum(parameter.numel() for norm in norms for parameter in norm.parameters())
    return sum(parameter.numel() for parameter in model.parameters()) - left_out


def pretrained_file(model: str, dataset: str, params: Params, paths: Paths) -> Path | None:
    """What a model starts from, if training.pretrained names another. Raises ValueError when it is not there."""
    if params.training.pretrained in (None, model):
        return None
    path = paths.pretrained(dataset) / f"{params.training.pretrained}.pt"
    if not path.exists():
        raise ValueError(f"no {path}: run python -m pipelines.pretrain --dataset {dataset}")
    return path


def load_recipe(folder: Path) -> str:
    """Read what stands for all that pretrained weights come from. Raises ValueError where it is not there."""
    path = folder / "recipe.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))["fingerprint"]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"no recipe in {path}: run python -m pipelines.pretrain --dataset {folder.name}") from error


def load_weights(path: Path) -> dict[str, Tensor]:
    """The weights that `pretrain` has written. Raises ValueError for a file with anything else; runs none of it."""
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
    """Whether something is tensors by name, those that other models start from among them."""
    return (
        isinstance(content, dict)
        and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())
        and "embedding.weight" in content
    )
