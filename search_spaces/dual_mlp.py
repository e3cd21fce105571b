"""Define the search space of `dual_mlp`. The paper's setting is TF4CTR's best on Frappe, by its log."""

from optuna.distributions import CategoricalDistribution

from search_spaces.shared import DEEP, FRAPPE_DEEP, HIDDEN

SPACE = {
    **DEEP,
    "model.embed_dim_2": CategoricalDistribution((4, 8, 16, 32, 64)),
    "model.hidden_dims_2": HIDDEN["model.hidden_dims"],
}
PAPER = {
    **FRAPPE_DEEP,
    "training.l2": 0.1,
    "model.embed_dim": 16,
    "model.embed_dim_2": 8,
    "model.hidden_dims_2": "[400, 400]",
}
