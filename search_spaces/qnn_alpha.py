"""Define the search space of `qnn_alpha`. The paper's setting is its authors' for Frappe, by their log."""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.shared import FRAPPE_TRAINING, TRAINING

SPACE = {
    **TRAINING,
    "model.embed_dim": CategoricalDistribution((8, 10, 16, 32, 64)),
    "model.num_layers": IntDistribution(1, 4),
    "model.num_rows": CategoricalDistribution((1, 2, 4, 8, 13)),
    "model.mlp_dropout": FloatDistribution(0.0, 0.9),
    "model.batch_norm": CategoricalDistribution((False, True)),
}
PAPER = {
    **FRAPPE_TRAINING,
    "training.l2": 0.1,
    "model.embed_dim": 16,
    "model.num_layers": 2,
    "model.num_rows": 13,
    "model.mlp_dropout": 0.1,
    "model.batch_norm": True,
}
