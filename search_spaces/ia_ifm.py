"""Define the search space of `ia_ifm`: `ifm`'s without the feature aspect."""

from search_spaces.shared import EMBEDDING, FIELD_ASPECT, PAPER_INTERACTION_AWARE, TRAINING

SPACE = {**TRAINING, **EMBEDDING, **FIELD_ASPECT}
PAPER = {key: PAPER_INTERACTION_AWARE[key] for key in SPACE}
