"""Define the search space of `nfm`. The setting is its released code's, with the IFM paper's sizes."""

from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.shared import EMBEDDING, PAPER_TRAINING, TRAINING

SPACE = {
    **TRAINING,
    **EMBEDDING,
    "model.hidden_dims": CategoricalDistribution(("[64]", "[128]", "[256]", "[128, 64]")),
    "model.hidden_dropout": FloatDistribution(0.0, 0.9),
    "model.batch_norm": CategoricalDistribution((False, True)),
}
PAPER = {
    **PAPER_TRAINING,
    "training.learning_rate": 0.05,
    "model.embed_dim": 256,
    "model.dropout": 0.5,
    "model.hidden_dims": "[256]",
    "model.hidden_dropout": 0.2,
    "model.batch_norm": True,
}
