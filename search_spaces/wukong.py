"""Define the search space of `wukong`. The first setting has FuxiCTR's sizes, with fewer rows for fewer fields."""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.shared import EMBED_DIM, FRAPPE_TRAINING, TRAINING

SPACE = {
    **TRAINING,
    **EMBED_DIM,
    "model.num_layers": IntDistribution(1, 5),
    "model.num_linear": CategoricalDistribution((4, 8, 16, 32)),
    "model.num_products": CategoricalDistribution((4, 8, 16, 32)),
    "model.fm_rank": CategoricalDistribution((4, 8, 16)),
    "model.fm_hidden_dims": CategoricalDistribution(("[32, 32]", "[128]", "[512, 256]")),
    "model.hidden_dims": CategoricalDistribution(("[32, 32]", "[128]", "[400, 400]")),
    "model.mlp_dropout": FloatDistribution(0.0, 0.9),
    "model.batch_norm": CategoricalDistribution((False, True)),
}
PAPER = {
    **FRAPPE_TRAINING,
    "model.embed_dim": 16,
    "model.num_layers": 3,
    "model.num_linear": 8,
    "model.num_products": 8,
    "model.fm_rank": 8,
    "model.fm_hidden_dims": "[32, 32]",
    "model.hidden_dims": "[32, 32]",
    "model.mlp_dropout": 0.0,
    "model.batch_norm": True,
}
