"""Define the search space of `gdcn`. The paper's setting has the defaults of its authors' code, also for Frappe."""

from optuna.distributions import CategoricalDistribution, IntDistribution

from search_spaces.shared import DEEP, FRAPPE_DEEP

SPACE = {
    **DEEP,
    "model.num_cross_layers": IntDistribution(1, 6),
    "model.structure": CategoricalDistribution(("stacked", "parallel")),
}
PAPER = {
    **FRAPPE_DEEP,
    "training.l2": 1e-6,
    "model.embed_dim": 16,
    "model.mlp_dropout": 0.5,
    "model.num_cross_layers": 3,
    "model.structure": "stacked",
}
