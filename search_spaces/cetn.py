"""Define the search space of `cetn`. The paper's setting is its authors' for Frappe, by their log.

They have batches of 10,000 rows.
"""

from optuna.distributions import CategoricalDistribution

from search_spaces.shared import DEEP, FRAPPE_DEEP, HIDDEN

SPACE = {
    **DEEP,
    "model.embed_dim": CategoricalDistribution((8, 10, 16, 20, 32)),
    "model.gate_hidden_dims": HIDDEN["model.hidden_dims"],
}
PAPER = {
    **FRAPPE_DEEP,
    "model.embed_dim": 20,
    "model.hidden_dims": "[400, 400]",
    "model.gate_hidden_dims": "[400]",
    "model.mlp_dropout": 0.1,
}
