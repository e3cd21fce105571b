"""The search space of `hofm`; its paper is on other data, so the first setting is that of `fm`, without dropout."""

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
