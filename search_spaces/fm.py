"""Define the search space of `fm`. The paper's setting is from the code released with AFM and IFM."""

from search_spaces.shared import EMBEDDING, PAPER_TRAINING, TRAINING

SPACE = {**TRAINING, **EMBEDDING}
PAPER = {**PAPER_TRAINING, "training.learning_rate": 0.01, "model.embed_dim": 256, "model.dropout": 0.3}
