"""Train small models on generated rows, and gather their figures."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from models import registry
from pipelines.data.rows import Rows
from pipelines.project.golden_files import SEED, Figures
from pipelines.project.params import TrainingParams
from pipelines.project.seeds import seed_for
from pipelines.training.epochs import Epoch
from pipelines.training.loop import train
from pipelines.training.optimizers.make import TAKE, roles_of
from pipelines.training.predicting import predict
from pipelines.training.start import new_model

SMALL = {  # instead of the papers' sizes, which only take longer
    "embed_dim": 4,
    "attention_dim": 3,
    "field_embed_dim": 3,
    "hidden_dims": [5, 4],
    "num_buckets": 50,
    "num_cross_layers": 2,
    "num_sampled": 2,
    "low_rank": 2,
    "num_experts": 3,
    "embed_dim_2": 3,
    "hidden_dims_2": [4],
    "gate_hidden_dims": [3],
    "num_heads": 2,
    "head_dim": 3,
    "num_attention_layers": 2,
    "cin_dims": [4, 3],
    "num_blocks": 2,
    "block_dim": 5,
    "num_neurons": 6,
    "num_layers": 2,
    "num_rows": 3,
    "num_linear": 3,
    "num_products": 2,
    "fm_rank": 2,
    "fm_hidden_dims": [5],
    "num_deep_layers": 2,
    "num_shallow_layers": 2,
    "num_members": 3,
    "trees_per_epoch": 5,
    "min_data_in_leaf": 5,
    "min_data_per_group": 2,
}
TRAINING = TrainingParams(learning_rate=0.1, batch_size=64, max_epochs=3, l2=0.01, l2_field=0.05, l2_attention=0.02)


class Split(NamedTuple):
    """Hold generated rows in float64, and their schema."""

    schema: dict[str, Any]
    train: Rows
    valid: Rows


def generated(field_dims: Mapping[str, int], with_values: bool = False) -> Split:
    """Draw 240 rows of features with planted weights; the last 60 are for validation."""
    rng, dims = np.random.default_rng(SEED), list(field_dims.values())
    features = np.stack([rng.integers(dim, size=240) for dim in dims], axis=1) + np.cumsum([0, *dims[:-1]])
    weights = rng.normal(size=(2, sum(dims)))
    scores = weights[0][features].sum(1) + weights[1][features[:, 0]] * weights[1][features[:, 1]]
    labels = np.where(scores + rng.normal(size=240) > 0, 1.0, -1.0)
    values = torch.tensor(rng.uniform(0.5, 2.0, size=features.shape)) if with_values else None
    x, y = torch.tensor(features, dtype=torch.int32), torch.tensor(labels)
    train_rows, valid_rows = (
        Rows(x[part], y[part], None if values is None else values[part]) for part in (slice(180), slice(180, None))
    )
    return Split({"fields": list(field_dims), "field_dims": dims}, train_rows, valid_rows)


@functools.cache
def splits() -> dict[str, Split]:
    """Generate one data set for each path of the kernels.

    Rows share pairs of features, or they don't, or features have values.
    """
    few, many = {"user": 6, "item": 7, "tag": 5, "hour": 4, "city": 3}, {"user": 150, "item": 150, "tag": 150}
    return {"few features": generated(few), "many features": generated(many), "values": generated(many, True)}


def small_arguments(model: str) -> dict[str, Any]:
    """Pick the sizes in `SMALL` that a model has."""
    return {key: SMALL[key] for key in registry.hyperparameters(model) if key in SMALL}


def trained(
    model: str, data: str, arguments: Mapping[str, Any], training: TrainingParams, start: dict[str, Tensor] | None
) -> tuple[nn.Module, list[Epoch]]:
    """Train a model on the CPU, and return it with its epochs."""
    split = splits()[data]
    seed = seed_for(SEED, "behaviour", model)
    declined = registry.why_declined(model, split.schema["fields"])
    schema = {**split.schema, "fields": []} if declined else split.schema  # then fields have no names
    net = new_model(model, schema, {**small_arguments(model), **arguments}, seed, start, device="cpu")
    taken = roles_of(net).values()
    l2 = {key: 0.0 for key, roles in TAKE.items() if not roles & {*taken}}
    return net, train(net, split.train, split.valid, training.model_copy(update=l2))


def figures(model: nn.Module, epochs: list[Epoch], split: Split, kernels: bool = True) -> Figures:
    """Gather losses by epoch, validation logits of five rows, and the norms of all weights."""
    return {
        "train_loss": [epoch.train_loss for epoch in epochs],
        "valid_rmse": [epoch.valid["rmse"] for epoch in epochs],
        "valid_logloss": [epoch.valid["logloss"] for epoch in epochs],
        "logits": predict(model, split.valid, kernels)[:5].tolist(),
        "norms": sorted(parameter.norm().item() for parameter in model.parameters()),  # without names, which may change
    }
