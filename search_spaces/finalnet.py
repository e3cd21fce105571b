"""Define the search space of `finalnet`. The paper's setting is its authors' for Frappe, by their log in BARS."""

from optuna.distributions import CategoricalDistribution

from search_spaces.shared import DEEP, FRAPPE_DEEP, HIDDEN

SPACE = {
    **DEEP,
    "model.hidden_dims_2": HIDDEN["model.hidden_dims"],
    "model.two_blocks": CategoricalDistribution((False, True)),
    "model.field_gate": CategoricalDistribution((False, True)),
}
PAPER = {
    **FRAPPE_DEEP,
    "training.l2": 0.1,
    "model.hidden_dims": "[400, 400]",
    "model.hidden_dims_2": "[400]",
    "model.mlp_dropout": 0.1,
    "model.two_blocks": True,
    "model.field_gate": True,
}
