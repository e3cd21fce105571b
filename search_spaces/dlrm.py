"""Define the search space of `dlrm`.

The first setting is the one that BARS (Zhu et al. 2022) found on Frappe.
"""

from search_spaces.shared import DEEP, FRAPPE_DEEP

SPACE = DEEP
PAPER = {**FRAPPE_DEEP, "training.l2": 0.1, "model.mlp_dropout": 0.4, "model.batch_norm": True}
