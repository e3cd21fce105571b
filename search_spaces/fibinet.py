"""Define the search space of `fibinet`.

The first setting is the one that BARS (Zhu et al. 2022) found on Frappe, without its batch norm.
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.shared import DEEP, FRAPPE_DEEP

SPACE = {
    **DEEP,
    "model.bilinear": CategoricalDistribution(("all", "each", "interaction")),
    "model.reduction_ratio": FloatDistribution(1.0, 4.0),
}
PAPER = {
    **FRAPPE_DEEP,
    "model.mlp_dropout": 0.3,
    "model.batch_norm": False,
    "model.bilinear": "all",
    "model.reduction_ratio": 2.0,
}
