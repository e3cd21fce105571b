"""Define the search space of `masknet`. The first setting is the one that BARS (Zhu et al. 2022) found on Frappe."""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.shared import FRAPPE_TRAINING, HIDDEN, TRAINING

SPACE = {
    **TRAINING,
    "model.embed_dim": CategoricalDistribution((8, 10, 16, 32, 64)),
    **HIDDEN,
    "model.mlp_dropout": FloatDistribution(0.0, 0.9),
    "model.structure": CategoricalDistribution(("parallel", "serial")),
    "model.num_blocks": IntDistribution(1, 5),
    "model.block_dim": CategoricalDistribution((50, 100, 200)),
    "model.reduction_ratio": FloatDistribution(0.5, 2.0),
}
PAPER = {
    **FRAPPE_TRAINING,
    "training.l2": 0.1,
    "model.embed_dim": 10,
    "model.hidden_dims": "[400, 400, 400]",
    "model.mlp_dropout": 0.1,
    "model.structure": "parallel",
    "model.num_blocks": 3,
    "model.block_dim": 50,
    "model.reduction_ratio": 2.0,
}
