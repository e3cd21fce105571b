"""Define the search space of `deepim`. The first setting is the one that BARS (Zhu et al. 2022) found on Frappe."""

from optuna.distributions import IntDistribution

from search_spaces.shared import DEEP, FRAPPE_DEEP

SPACE = {**DEEP, "model.order": IntDistribution(2, 5)}
PAPER = {**FRAPPE_DEEP, "model.order": 3, "model.mlp_dropout": 0.1}
