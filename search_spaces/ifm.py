"""The search space of `ifm`; the paper's setting is that of its text and of the code released with it."""

from search_spaces.shared import EMBEDDING, FEATURE_ASPECT, FIELD_ASPECT, PAPER_INTERACTION_AWARE, TRAINING

SPACE = {**TRAINING, **EMBEDDING, **FEATURE_ASPECT, **FIELD_ASPECT}
PAPER = PAPER_INTERACTION_AWARE
