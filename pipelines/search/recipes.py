"""Give each model the setting with which a recipe starts (`pipelines.project.settings.RECIPES`)."""

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from models.registry import get_model, is_boosted, is_by_gradient
from pipelines.project.params import TrainingParams
from pipelines.project.settings import CTR, RECIPE, Setting, resolve
from search_spaces.shared import Space, contains, load, paper_setting

# λ of the published logs on Frappe: a batch's mean loss + λ ‖V‖² / 2 (BARS, Zhu et al. 2022). Models whose first
# setting is of such a log have it in PAPER. Batch norm makes what small embeddings give large again. Without it, 0.05
# leaves nothing to learn from, and other models have fm's λ: deepfm and wide_deep have no batch norm here.
L2 = {"afm": 1e-5, "dcn": 0.05, "ffm": 1e-6, "hofm": 1e-6, "lr": 1e-5, "nfm": 1e-4}
L2_OF_OTHERS = 5e-6


def first_setting(recipe: str, model: str, family: str, batch_size: int = CTR["batch_size"]) -> dict[str, Any]:
    """Return the first setting of a recipe: the paper's, and what the recipe sets of its keys.

    Published logs have no dropout of interactions, and a learning rate that follows each epoch can't do with its noise.
    FuxiCTR adds the penalty to the mean loss of a batch, and here the loss is a sum, so λ counts as often as the batch
    has rows.
    """
    setting = paper_setting(model, family)
    if recipe != "ctr" or "training.l2" not in setting:  # a model without L2 is not trained by gradients
        return setting
    of_log = load(model)[1].get("training.batch_size") == CTR["batch_size"]
    l2 = L2.get(model, setting["training.l2"] if of_log else L2_OF_OTHERS)
    return {
        **setting,
        "training.learning_rate": CTR["learning_rate"],
        "training.batch_size": batch_size,
        "training.l2": l2 * batch_size,
        **({"model.dropout": 0.0} if "model.dropout" in setting else {}),
    }


def with_recipes(
    space: Space, model: str, family: str, recipes: Sequence[str], fixed: Setting
) -> tuple[Space, list[dict[str, Any]]]:
    """Return a space that also draws the recipe, and the first setting of each recipe.

    Ranges become as wide as these settings need. A space of one recipe stays without this key.
    """
    batch_size = fixed.get("training.batch_size", CTR["batch_size"])
    settings = [{RECIPE: recipe, **first_setting(recipe, model, family, batch_size)} for recipe in recipes]
    wide = {key: widened(each, [setting[key] for setting in settings]) for key, each in space.items()}
    if len(recipes) > 1:
        wide[RECIPE] = CategoricalDistribution(tuple(recipes))
    return wide, settings


def distinct(settings: Sequence[Setting], model: str, fixed: Setting, training: TrainingParams) -> list[Setting]:
    """Leave out settings by which a model trains as by an earlier one.

    Of a recipe, a model in closed form takes the loss, and trees the learning rate and patience too. Patience only ends
    a run, so it makes no other trees.
    """
    kind = get_model(model)
    if is_by_gradient(kind):
        return list(settings)
    taken = ("loss", "learning_rate") if is_boosted(kind) else ("loss",)
    found: dict[str, Setting] = {}
    for setting in settings:
        arguments, resolved = resolve({**fixed, **setting}, training)
        found.setdefault(repr((sorted(arguments.items()), [getattr(resolved, key) for key in taken])), setting)
    return list(found.values())


def widened(distribution: Any, values: Sequence[Any]) -> BaseDistribution:
    """Return a distribution that has these values too."""
    new = [value for value in dict.fromkeys(values) if not contains(distribution, value)]
    if not new:
        return distribution
    if isinstance(distribution, CategoricalDistribution):
        return CategoricalDistribution((*distribution.choices, *new))
    low, high = min(distribution.low, *new), max(distribution.high, *new)
    return type(distribution)(low, high, log=distribution.log, step=distribution.step)
