"""Join the search space of `ifm` and the number of sampled pairs (Frappe has 45)."""

from optuna.distributions import IntDistribution

from search_spaces.shared import EMBEDDING, FEATURE_ASPECT, FIELD_ASPECT, PAPER_INTERACTION_AWARE, TRAINING

SPACE = {**TRAINING, **EMBEDDING, **FEATURE_ASPECT, **FIELD_ASPECT, "model.num_sampled": IntDistribution(1, 45)}
PAPER = {**PAPER_INTERACTION_AWARE, "model.num_sampled": 23}
