"""Define the search space of `edcn`. The first setting is the one that BARS (Zhu et al. 2022) found on Frappe."""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.shared import EMBED_DIM, FRAPPE_TRAINING, TRAINING

SPACE = {
    **TRAINING,
    **EMBED_DIM,
    "model.num_cross_layers": IntDistribution(1, 5),
    "model.temperature": FloatDistribution(0.1, 10.0, log=True),
    "model.mlp_dropout": FloatDistribution(0.0, 0.9),
    "model.batch_norm": CategoricalDistribution((False, True)),
}
PAPER = {
    **FRAPPE_TRAINING,
    "model.embed_dim": 10,
    "model.num_cross_layers": 3,
    "model.temperature": 5.0,
    "model.mlp_dropout": 0.3,
    "model.batch_norm": True,
}
