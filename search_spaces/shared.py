"""Find a model's search space by name, and hold the ranges that spaces share."""

import importlib
import importlib.util
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Space = dict[str, BaseDistribution]

# Each file of this package has
#   SPACE: keys `model.*` (arguments of the model) and `training.*`, each with its distribution;
#   PAPER: the paper's setting on Frappe, a value for each key of SPACE; always the first trial.
# A list, such as hidden_dims, is written as text: "[64, 32]". Ranges that several spaces share are in this file: spaces
# do not import each other, so a change of one space reruns only its own model.

TRAINING: Space = {
    "training.learning_rate": FloatDistribution(3e-3, 0.5, log=True),
    "training.l2": FloatDistribution(1e-8, 1.0, log=True),
    "training.batch_size": CategoricalDistribution((128, 256, 512, 1024, 2048, 4096)),
}
EMBEDDING: Space = {
    "model.embed_dim": CategoricalDistribution((8, 16, 32, 64, 128, 256)),
    "model.dropout": FloatDistribution(0.0, 0.9),
}
FEATURE_ASPECT: Space = {
    "model.attention_dim": CategoricalDistribution((8, 16, 32, 64, 128, 256)),
    "model.temperature": FloatDistribution(0.1, 100.0, log=True),
}
FIELD_ASPECT: Space = {
    "model.field_embed_dim": IntDistribution(4, 64, log=True),
    "training.l2_field": FloatDistribution(1e-4, 10.0, log=True),
}
SMOOTHING = FloatDistribution(1e-2, 1e4, log=True)  # rows that a closed-form model adds to each mean

MLP: Space = {
    "model.hidden_dims": CategoricalDistribution(("[100]", "[100, 100]", "[200, 200, 200]", "[400, 400, 400]")),
    "model.mlp_dropout": FloatDistribution(0.0, 0.9),
}

# The papers' code has no L2 on embeddings: the lower bound of the range stands for none.
PAPER_TRAINING = {"training.learning_rate": 0.1, "training.l2": 1e-8, "training.batch_size": 128}
PAPER_INTERACTION_AWARE = {
    **PAPER_TRAINING,
    "model.embed_dim": 256,
    "model.dropout": 0.1,
    "model.attention_dim": 256,
    "model.field_embed_dim": 26,
    "model.temperature": 10.0,
    "training.l2_field": 0.01,
}
# afm and afm_ffm: settings of the code released with AFM. Its λ_attention is 2 for 256 factors and 100 for 16.
ATTENTIONAL_FM: Space = {
    **TRAINING,
    **EMBEDDING,
    **FEATURE_ASPECT,
    "model.batch_norm": CategoricalDistribution((False, True)),
    "training.l2_attention": FloatDistribution(1e-4, 100.0, log=True),
}
PAPER_ATTENTIONAL_FM = {
    **PAPER_TRAINING,
    "model.embed_dim": 256,
    "model.dropout": 0.5,
    "model.attention_dim": 256,
    "model.temperature": 1.0,
    "model.batch_norm": False,
    "training.l2_attention": 2.0,
}
# ipnn, opnn and pnn: three hidden layers with dropout 0.5, as in the paper. The paper's learning rate is for plain
# gradient descent and does not carry over to Adagrad.
PRODUCT_NN: Space = {
    **TRAINING,
    "model.embed_dim": EMBEDDING["model.embed_dim"],
    "model.hidden_dims": CategoricalDistribution(("[100]", "[100, 100]", "[100, 100, 100]", "[200, 200, 200]")),
    "model.mlp_dropout": FloatDistribution(0.0, 0.9),
}
PAPER_PRODUCT_NN = {
    **PAPER_TRAINING,
    "training.learning_rate": 0.01,
    "model.embed_dim": 256,
    "model.hidden_dims": "[100, 100, 100]",
    "model.mlp_dropout": 0.5,
}
PAPER_BY_FAMILY = {
    "movielens": {"model.attention_dim": 8, "model.field_embed_dim": 16, "training.batch_size": 4096},
}


def get_space(model: str) -> Space:
    """Return the distributions of `search_spaces/MODEL.py` by key. Raises ValueError if there is no such file."""
    return dict(_module(model).SPACE)


def paper_setting(model: str, family: str) -> dict[str, Any]:
    """Return a model's paper setting for a family of data sets, such as `frappe`."""
    paper = _module(model).PAPER
    return {**paper, **{key: value for key, value in PAPER_BY_FAMILY.get(family, {}).items() if key in paper}}


def _module(model: str) -> Any:
    if not (model.isidentifier() and importlib.util.find_spec(f"search_spaces.{model}")):
        raise ValueError(f"{model} has no search space: add search_spaces/{model}.py with SPACE and PAPER")
    return importlib.import_module(f"search_spaces.{model}")
