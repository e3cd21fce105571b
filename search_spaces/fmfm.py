"""Define the search space of `fmfm`. The first setting is `fvfm`'s: BARS took vectors instead of matrices on Frappe."""

from search_spaces.shared import EMBED_DIM, EMBEDDING, FRAPPE_TRAINING, TRAINING

SPACE = {**TRAINING, **EMBED_DIM, "model.dropout": EMBEDDING["model.dropout"]}
PAPER = {**FRAPPE_TRAINING, "training.l2": 1e-5, "model.embed_dim": 10, "model.dropout": 0.0}
