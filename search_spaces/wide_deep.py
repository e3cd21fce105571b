"""Define the search space of `wide_deep`.

The paper's setting has the layers of its figure 4. The paper does not give the learning rates of its two optimisers.
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.shared import EMBEDDING, PAPER_TRAINING, TRAINING

SPACE = {
    **TRAINING,
    "model.embed_dim": EMBEDDING["model.embed_dim"],
    "model.hidden_dims": CategoricalDistribution(("[100]", "[100, 100]", "[400, 400, 400]", "[1024, 512, 256]")),
    "model.mlp_dropout": FloatDistribution(0.0, 0.9),
}
PAPER = {
    **PAPER_TRAINING,
    "training.learning_rate": 0.01,
    "model.embed_dim": 256,
    "model.hidden_dims": "[1024, 512, 256]",
    "model.mlp_dropout": 0.0,
}
