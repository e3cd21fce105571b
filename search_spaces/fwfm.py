"""Define the search space of `fwfm`.

The first setting is the one that BARS (Zhu et al. 2022) found on Frappe, with the paper's linear part: BARS has FeLV.
"""

from optuna.distributions import CategoricalDistribution

from search_spaces.shared import EMBED_DIM, EMBEDDING, FRAPPE_TRAINING, TRAINING

SPACE = {
    **TRAINING,
    **EMBED_DIM,
    "model.dropout": EMBEDDING["model.dropout"],
    "model.linear_part": CategoricalDistribution(("LW", "FeLV", "FiLV")),
}
PAPER = {
    **FRAPPE_TRAINING,
    "training.l2": 5e-6,
    "model.embed_dim": 10,
    "model.dropout": 0.0,
    "model.linear_part": "FiLV",
}
