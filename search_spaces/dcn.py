"""Define the search space of `dcn`.

The paper's setting is its best on Criteo: 6 crosses, 2 layers of 1024 units, no dropout. Its learning rate is for Adam
and does not carry over to Adagrad.
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.shared import EMBEDDING, PAPER_TRAINING, TRAINING

SPACE = {
    **TRAINING,
    "model.embed_dim": EMBEDDING["model.embed_dim"],
    "model.num_cross_layers": IntDistribution(1, 6),
    "model.hidden_dims": CategoricalDistribution(("[100]", "[256, 256]", "[512, 512]", "[1024, 1024]")),
    "model.mlp_dropout": FloatDistribution(0.0, 0.9),
}
PAPER = {
    **PAPER_TRAINING,
    "training.learning_rate": 0.01,
    "model.embed_dim": 256,
    "model.num_cross_layers": 6,
    "model.hidden_dims": "[1024, 1024]",
    "model.mlp_dropout": 0.0,
}
