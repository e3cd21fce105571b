"""Define the search space of `destine`. The first setting is the one that BARS (Zhu et al. 2022) found on Frappe."""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.shared import DEEP, FRAPPE_DEEP

SPACE = {
    **DEEP,
    "model.num_attention_layers": IntDistribution(1, 5),
    "model.num_heads": CategoricalDistribution((1, 2)),
    "model.head_dim": CategoricalDistribution((16, 32, 64, 128)),
    "model.attention_dropout": FloatDistribution(0.0, 0.5),
}
PAPER = {
    **FRAPPE_DEEP,
    "model.num_attention_layers": 4,
    "model.num_heads": 1,
    "model.head_dim": 128,
    "model.attention_dropout": 0.0,
}
