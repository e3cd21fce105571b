"""Parse settings, which map `model.*` and `training.*` keys to values. A search draws settings."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.project.params import TrainingParams
from pipelines.project.records import check, parse_yaml

Setting = Mapping[str, Any]

# How most of today's models are trained in published logs (FuxiCTR; BARS, Zhu et al. 2022): the learning rate is cut
# after each epoch without a better validation metric, and the second such epoch in a row ends the run.
# FuxiCTR limits the norm of the gradient of a batch's mean loss to 10; here losses are summed.
CTR = {
    "loss": "cross_entropy",
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "batch_size": 4096,
    "patience": 2,
    "lr_schedule": "plateau",
    "lr_factor": 0.1,
    "lr_patience": 1,
    "lr_floor": 1e-6,
    "gradient_clip": 10.0 * 4096,
}
RECIPE = "training.recipe"  # the key of a setting that names one of these
RECIPES: dict[str, Setting] = {"paper": {}, "ctr": CTR}  # paper: as `training` of params.yaml says


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """Parse `["model.embed_dim=256"]` into `{"model.embed_dim": 256}`. Raises ValueError where `=` is missing."""
    for assignment in assignments:
        if "=" not in assignment:
            raise ValueError(f"--set {assignment}: write KEY=VALUE, such as --set model.embed_dim=64")
    return {key.strip(): parse(value) for key, value in (a.split("=", 1) for a in assignments)}


def parse(value: Any) -> Any:
    """Parse text as YAML, so that `"[64, 32]"` becomes a list. Other values are returned unchanged."""
    if not isinstance(value, str):
        return value
    try:
        return parse_yaml(value)
    except ValueError:  # a text that is no YAML stands for itself
        return value


def resolve(setting: Setting, training: TrainingParams) -> tuple[dict[str, Any], TrainingParams]:
    """Return the model's arguments and the training parameters after applying a setting.

    `training.recipe` stands for the keys in RECIPES; the setting's own keys go before them. Raises ValueError that
    names the first key that is neither `model.*` nor a training parameter.
    """
    model: dict[str, Any] = {}
    changes: dict[str, Any] = {}
    for key, value in setting.items():
        part, _, name = key.partition(".")
        if part not in ("model", "training") or not name:
            raise ValueError(f"unknown key {key!r}: keys are model.* and training.*")
        (model if part == "model" else changes)[name] = parse(value)
    recipe = changes.pop("recipe", "paper")
    if recipe not in RECIPES:
        raise ValueError(f"training.recipe is {recipe!r}; choose one of: {', '.join(RECIPES)}")
    return model, check(TrainingParams, {**training.model_dump(), **RECIPES[recipe], **changes}, "training.")


def format_setting(setting: Setting) -> str:
    """Format a setting like `learning_rate=0.05 dropout=0.3`."""
    values = ((key.partition(".")[2], value) for key, value in setting.items())
    return " ".join(f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}" for key, value in values)
