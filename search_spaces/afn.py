"""Define the search space of `afn`, with AFN+ in it.

The first setting is the one that BARS (Zhu et al. 2022) found for AFN on Frappe.
"""

from optuna.distributions import CategoricalDistribution

from search_spaces.shared import DEEP, FRAPPE_DEEP

SPACE = {
    **DEEP,
    "model.embed_dim": CategoricalDistribution((8, 10, 16, 32)),
    "model.num_neurons": CategoricalDistribution((100, 300, 1000)),
    "model.hidden_dims": CategoricalDistribution(("[100]", "[400]", "[400, 400]")),
    "model.ensemble": CategoricalDistribution((False, True)),
}
PAPER = {
    **FRAPPE_DEEP,
    "training.l2": 0.001,
    "model.num_neurons": 1000,
    "model.hidden_dims": "[400]",
    "model.ensemble": False,
    "model.mlp_dropout": 0.4,
    "model.batch_norm": False,
}
