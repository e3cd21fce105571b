"""Define the search space of `fa_ifm`: `ifm`'s without the field aspect."""

from search_spaces.shared import EMBEDDING, FEATURE_ASPECT, PAPER_INTERACTION_AWARE, TRAINING

SPACE = {**TRAINING, **EMBEDDING, **FEATURE_ASPECT}
PAPER = {key: PAPER_INTERACTION_AWARE[key] for key in SPACE}
