"""Define the search space of `ifm_full`: `ifm`'s without the size of the factors."""

from search_spaces.shared import EMBEDDING, FEATURE_ASPECT, FIELD_ASPECT, PAPER_INTERACTION_AWARE, TRAINING

SPACE = {**TRAINING, **EMBEDDING, **FEATURE_ASPECT, "training.l2_field": FIELD_ASPECT["training.l2_field"]}
PAPER = {key: PAPER_INTERACTION_AWARE[key] for key in SPACE}
