"""Find a model's search space by name, and hold the ranges that spaces share."""

import functools
import importlib
import importlib.util
import warnings
from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial

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
# Models whose first setting is what a benchmark or the authors found on Frappe, most of them with K = 10, Adam at
# 0.001 and batches of 4096. That learning rate does not carry over to Adagrad.
EMBED_DIM: Space = {"model.embed_dim": CategoricalDistribution((8, 10, 16, 32, 64, 128, 256))}
HIDDEN = {"model.hidden_dims": CategoricalDistribution(("[100]", "[400]", "[400, 400]", "[400, 400, 400]"))}
DEEP: Space = {
    **TRAINING,
    **EMBED_DIM,
    **HIDDEN,
    "model.mlp_dropout": FloatDistribution(0.0, 0.9),
    "model.batch_norm": CategoricalDistribution((False, True)),
}
FRAPPE_TRAINING = {"training.learning_rate": 0.01, "training.l2": 0.05, "training.batch_size": 4096}
FRAPPE_DEEP = {
    **FRAPPE_TRAINING,
    "model.embed_dim": 10,
    "model.hidden_dims": "[400, 400, 400]",
    "model.mlp_dropout": 0.2,
    "model.batch_norm": True,
}
PAPER_BY_FAMILY = {
    "movielens": {"model.attention_dim": 8, "model.field_embed_dim": 16, "training.batch_size": 4096},
}

# Settings that a search can try after the paper's (tune.known), by name and model. What ANY has is for all models whose
# space has the key. `frappe` and `movielens` were the best of searches of that family, and no search of the same family
# tries them: it would know its answer.
PAPER, ANY = "paper", "any"
KNOWN: dict[str, dict[str, dict[str, Any]]] = {
    "frappe": {
        "fm": {"training.learning_rate": 0.1, "training.l2": 5e-7, "model.dropout": 0.5},
        "lr": {"training.learning_rate": 0.074, "training.l2": 8e-4},
        "nfm": {"training.l2": 2e-8, "model.dropout": 0.05, "model.hidden_dropout": 0.07, "model.batch_norm": True},
        "deepfm": {
            "training.learning_rate": 0.0057,
            "model.dropout": 0.16,
            "model.hidden_dims": "[100, 100]",
            "model.mlp_dropout": 0.86,
        },
    },
    "movielens": {
        ANY: {"training.learning_rate": 0.06, "training.l2": 0.005},
        "deepfm": {
            "training.learning_rate": 0.016,
            "training.l2": 1e-8,
            "model.dropout": 0.88,
            "model.hidden_dims": "[400, 400, 400]",
            "model.mlp_dropout": 0.13,
        },
        "ifm": {
            "model.dropout": 0.3,
            "model.temperature": 20.0,
            "model.field_embed_dim": 8,
            "training.l2_field": 0.36,
        },
    },
}


def get_space(model: str) -> Space:
    """Return the distributions of `search_spaces/MODEL.py` by key. Raises ValueError for a missing or wrong file."""
    return dict(load(model)[0])


def paper_setting(model: str, family: str) -> dict[str, Any]:
    """Return a model's paper setting for a family of data sets, such as `frappe`.

    The family's own values replace those of PAPER, as far as the model's space has them.
    """
    space, paper = load(model)
    own = PAPER_BY_FAMILY.get(family, {})
    return {key: own[key] if key in own and contains(space[key], own[key]) else value for key, value in paper.items()}


def known_settings(model: str, family: str, names: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Return the settings that a search tries first, by name: the paper's, then those of KNOWN that `names` lists.

    A known setting has the paper's value for each key that it lacks; keys that the space lacks are left out. Raises
    ValueError for an unknown name, and for a value outside of the space.
    """
    paper, space = paper_setting(model, family), load(model)[0]
    found = {PAPER: paper}
    for name in names:
        if name not in KNOWN:
            raise ValueError(f"tune.known: unknown setting {name!r}; choose from: {', '.join(sorted(KNOWN))}")
        setting = {} if name == family else {**KNOWN[name].get(ANY, {}), **KNOWN[name].get(model, {})}
        for key in setting.keys() & space.keys():
            if not contains(space[key], setting[key]):
                raise ValueError(f"search_spaces/shared.py: KNOWN[{name!r}] has {key} {setting[key]!r}: {space[key]}")
        if setting:
            found[name] = {**paper, **{key: value for key, value in setting.items() if key in space}}
    return found


def file_of(model: str) -> str:
    return f"search_spaces/{model}.py"


@functools.cache
def load(model: str) -> tuple[Space, dict[str, Any]]:
    """Return SPACE and PAPER of `search_spaces/MODEL.py`.

    Raises ValueError, which names the file, if it is missing or can't be imported, and for a key or value that no
    search can use.
    """
    if not (model.isidentifier() and importlib.util.find_spec(f"search_spaces.{model}")):
        raise ValueError(f"{model} has no search space: add {file_of(model)} with SPACE and PAPER")
    try:
        with warnings.catch_warnings(action="ignore"):  # Optuna's, of what is an error below
            module = importlib.import_module(f"search_spaces.{model}")
    except Exception as error:  # any that Python code raises
        raise ValueError(f"{file_of(model)} can't be imported: {type(error).__name__}: {error}") from error
    space, paper = (getattr(module, name, None) for name in ("SPACE", "PAPER"))
    if not (isinstance(space, dict) and isinstance(paper, dict)):
        raise ValueError(f"{file_of(model)} must have SPACE and PAPER, two dicts by key")
    try:
        for key, distribution in space.items():
            check_distribution(key, distribution)
            check_key(model, key)
        check_paper(space, paper)
    except ValueError as error:
        raise ValueError(f"{file_of(model)}: {error}") from error
    return space, paper


def check_distribution(key: str, distribution: object) -> None:
    """Raise ValueError for a value of SPACE that Optuna can't draw from or can't store."""
    if not isinstance(distribution, BaseDistribution):
        raise ValueError(f"SPACE[{key!r}] must be a distribution of Optuna, got {distribution!r}")
    for choice in getattr(distribution, "choices", ()):
        if not (choice is None or isinstance(choice, bool | int | float | str)):
            raise ValueError(f'SPACE[{key!r}] has the choice {choice!r}: write a list as text, such as "[64, 32]"')


def check_key(model: str, key: str) -> None:
    """Raise ValueError for a key that is no `training.*` and no hyperparameter of the model."""
    from models.registry import hyperparameters  # torch takes seconds to import

    part, _, name = str(key).partition(".")
    if part == "model" and name not in (known := hyperparameters(model)):
        raise ValueError(f"{model} has no hyperparameter {name!r}; it has: {', '.join(known) or 'none'}")
    if part not in ("model", "training") or not name:
        raise ValueError(f"unknown key {key!r}: keys are model.* and training.*")


def check_paper(space: Space, paper: dict[str, Any]) -> None:
    """Raise ValueError if PAPER has other keys than SPACE, or values outside."""
    for key in paper.keys() - space.keys():
        raise ValueError(f"PAPER has {key!r}, which is no key of SPACE")
    for key, distribution in space.items():
        if key not in paper:
            raise ValueError(f"PAPER lacks {key!r}, a key of SPACE")
        if not contains(distribution, paper[key]):
            raise ValueError(f"PAPER[{key!r}] is {paper[key]!r}, outside of SPACE: {distribution}")


def contains(distribution: BaseDistribution, value: Any) -> bool:
    try:
        create_trial(value=0.0, params={"key": value}, distributions={"key": distribution})
    except (ValueError, TypeError):
        return False
    return True
