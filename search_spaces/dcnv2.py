"""Define the search space of `dcnv2`. The paper's setting is the one that BARS (Zhu et al. 2022) found on Frappe."""

from optuna.distributions import CategoricalDistribution, IntDistribution

from search_spaces.shared import DEEP, FRAPPE_DEEP

SPACE = {
    **DEEP,
    "model.num_cross_layers": IntDistribution(1, 5),
    "model.cross": CategoricalDistribution(("full", "mixture")),
    "model.structure": CategoricalDistribution(("parallel", "stacked")),
}
PAPER = {
    **FRAPPE_DEEP,
    "model.mlp_dropout": 0.4,
    "model.num_cross_layers": 4,
    "model.cross": "full",
    "model.structure": "parallel",
}
