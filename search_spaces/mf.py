"""Define the search space of `mf`. Its paper has no setting, so the first is `fm`'s, without dropout."""

from search_spaces.shared import EMBEDDING, PAPER_TRAINING, TRAINING

SPACE = {**TRAINING, **EMBEDDING}
PAPER = {**PAPER_TRAINING, "training.learning_rate": 0.01, "model.embed_dim": 256, "model.dropout": 0.0}
