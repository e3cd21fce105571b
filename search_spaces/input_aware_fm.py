"""Define the search space of `input_aware_fm`. The paper's setting is its released code's for Frappe."""

from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.shared import EMBEDDING, PAPER_TRAINING, TRAINING

SPACE = {
    **TRAINING,
    **EMBEDDING,
    "model.hidden_dims": CategoricalDistribution(("[128]", "[256, 256]", "[256, 256, 256]", "[512, 258, 128]")),
    "model.mlp_dropout": FloatDistribution(0.0, 0.9),
    "model.batch_norm": CategoricalDistribution((False, True)),
}
PAPER = {
    **PAPER_TRAINING,
    "training.learning_rate": 0.01,
    "training.batch_size": 2048,
    "model.embed_dim": 256,
    "model.dropout": 0.2,
    "model.hidden_dims": "[512, 258, 128]",
    "model.mlp_dropout": 0.3,
    "model.batch_norm": True,
}
