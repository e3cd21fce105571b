"""Join the search space of `ifm` and the hidden layers of `deepfm`."""

from search_spaces.shared import EMBEDDING, FEATURE_ASPECT, FIELD_ASPECT, MLP, PAPER_INTERACTION_AWARE, TRAINING

SPACE = {**TRAINING, **EMBEDDING, **FEATURE_ASPECT, **FIELD_ASPECT, **MLP}
PAPER = {**PAPER_INTERACTION_AWARE, "model.hidden_dims": "[100]", "model.mlp_dropout": 0.5}
