"""The search space of `pitf`; its paper has another loss, so the first setting is that of `fm`, without dropout."""

from search_spaces.shared import EMBEDDING, PAPER_TRAINING, TRAINING

SPACE = {**TRAINING, **EMBEDDING}
PAPER = {**PAPER_TRAINING, "training.learning_rate": 0.01, "model.embed_dim": 256, "model.dropout": 0.0}
