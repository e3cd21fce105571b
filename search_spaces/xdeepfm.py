"""Define the search space of `xdeepfm`. The first setting is the one that BARS (Zhu et al. 2022) found on Frappe."""

from optuna.distributions import CategoricalDistribution

from search_spaces.shared import DEEP, FRAPPE_DEEP

SPACE = {**DEEP, "model.cin_dims": CategoricalDistribution(("[16]", "[64]", "[32, 32]", "[64, 64, 64]"))}
PAPER = {**FRAPPE_DEEP, "training.l2": 0.1, "model.cin_dims": "[64]"}
