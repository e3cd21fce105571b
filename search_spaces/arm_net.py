"""Define the search space of `arm_net`, with ARM-Net+ in it.

The first setting is that of the authors' code for ARM-Net on Frappe.
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.shared import DEEP, FRAPPE_DEEP

SPACE = {
    **DEEP,
    "model.embed_dim": CategoricalDistribution((8, 10, 16, 32)),
    "model.num_heads": CategoricalDistribution((1, 4, 8)),
    "model.num_neurons": CategoricalDistribution((4, 8, 16, 32)),
    "model.alpha": FloatDistribution(1.5, 2.0),
    "model.hidden_dims": CategoricalDistribution(("[100]", "[256, 256]", "[400, 400]")),
    "model.ensemble": CategoricalDistribution((False, True)),
}
PAPER = {
    **FRAPPE_DEEP,
    "training.l2": 1e-8,
    "model.num_heads": 8,
    "model.num_neurons": 32,
    "model.alpha": 2.0,
    "model.hidden_dims": "[256, 256]",
    "model.ensemble": False,
    "model.mlp_dropout": 0.0,
}
