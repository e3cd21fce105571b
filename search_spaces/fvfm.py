"""Define the search space of `fvfm`. The first setting is the one that BARS (Zhu et al. 2022) found on Frappe."""

from search_spaces.shared import EMBED_DIM, EMBEDDING, FIELD_ASPECT, FRAPPE_TRAINING, TRAINING

SPACE = {
    **TRAINING,
    **EMBED_DIM,
    "model.dropout": EMBEDDING["model.dropout"],
    "training.l2_field": FIELD_ASPECT["training.l2_field"],
}
PAPER = {
    **FRAPPE_TRAINING,
    "training.l2": 1e-5,
    "model.embed_dim": 10,
    "model.dropout": 0.0,
    "training.l2_field": 1e-4,
}
