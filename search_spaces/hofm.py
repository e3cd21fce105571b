"""Define the search space of `hofm`. Its paper uses other data, so the first setting is `fm`'s, without dropout."""

from optuna.distributions import CategoricalDistribution

from search_spaces.shared import EMBEDDING, PAPER_TRAINING, TRAINING

SPACE = {**TRAINING, **EMBEDDING, "model.order": CategoricalDistribution((2, 3))}
PAPER = {
    **PAPER_TRAINING,
    "training.learning_rate": 0.01,
    "model.embed_dim": 256,
    "model.dropout": 0.0,
    "model.order": 3,
}
