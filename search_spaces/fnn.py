"""Define the search space of `fnn`.

The paper's setting is from the code released with it, except the learning rate: 0.001 to 0.002 for plain gradient
descent, which does not carry over to Adagrad.
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.shared import EMBEDDING, PAPER_TRAINING, TRAINING

SPACE = {
    **TRAINING,
    "model.embed_dim": EMBEDDING["model.embed_dim"],
    "model.hidden_dims": CategoricalDistribution(("[100]", "[300, 100]", "[200, 300, 100]", "[300, 300, 300]")),
    "model.mlp_dropout": FloatDistribution(0.0, 0.9),
}
PAPER = {
    **PAPER_TRAINING,
    "training.learning_rate": 0.01,
    "model.embed_dim": 256,
    "model.hidden_dims": "[300, 100]",
    "model.mlp_dropout": 0.5,
}
