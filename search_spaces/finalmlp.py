"""Define the search space of `finalmlp`. The paper's setting is its authors' for Frappe, by their log in BARS."""

from optuna.distributions import CategoricalDistribution

from search_spaces.shared import DEEP, FRAPPE_DEEP, HIDDEN

SPACE = {
    **DEEP,
    "model.hidden_dims_2": HIDDEN["model.hidden_dims"],
    "model.context_fields": CategoricalDistribution((False, True)),
    "model.num_heads": CategoricalDistribution((1, 2, 5, 10, 20)),
}
PAPER = {
    **FRAPPE_DEEP,
    "model.hidden_dims": "[400]",
    "model.hidden_dims_2": "[100]",
    "model.mlp_dropout": 0.4,
    "model.context_fields": True,
    "model.num_heads": 5,
}
