"""Define the search space of `autoint`, with AutoInt+ in it.

The first setting is the one that BARS (Zhu et al. 2022) found for AutoInt on Frappe.
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.shared import DEEP, FRAPPE_DEEP

SPACE = {
    **DEEP,
    "model.num_attention_layers": IntDistribution(1, 6),
    "model.num_heads": CategoricalDistribution((1, 2, 4)),
    "model.head_dim": CategoricalDistribution((8, 16, 32)),
    "model.attention_dropout": FloatDistribution(0.0, 0.5),
    "model.hidden_dims": CategoricalDistribution(("[]", "[400]", "[400, 400]", "[400, 400, 400]")),
}
PAPER = {
    **FRAPPE_DEEP,
    "model.num_attention_layers": 6,
    "model.num_heads": 4,
    "model.head_dim": 32,
    "model.attention_dropout": 0.0,
    "model.hidden_dims": "[]",
    "model.mlp_dropout": 0.0,
    "model.batch_norm": False,
}
