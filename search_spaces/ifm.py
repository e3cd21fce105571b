"""Define the search space of `ifm`. The paper's setting is from its text and the code released with it."""

from search_spaces.shared import EMBEDDING, FEATURE_ASPECT, FIELD_ASPECT, PAPER_INTERACTION_AWARE, TRAINING

SPACE = {**TRAINING, **EMBEDDING, **FEATURE_ASPECT, **FIELD_ASPECT}
PAPER = PAPER_INTERACTION_AWARE
