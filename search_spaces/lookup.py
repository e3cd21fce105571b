"""Define the search space of `lookup`, which no paper has: PAPER is the model's default."""

from optuna.distributions import CategoricalDistribution

from search_spaces.shared import SMOOTHING

SPACE = {
    "model.smoothing": SMOOTHING,
    "model.feature_smoothing": SMOOTHING,
    "model.backoff": CategoricalDistribution(("once", "all")),
}
PAPER = {"model.smoothing": 0.1, "model.feature_smoothing": 10.0, "model.backoff": "once"}
