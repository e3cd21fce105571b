"""Join the search space of `ifm` and the hidden layers. The released code has one layer of 5 units."""

from optuna.distributions import CategoricalDistribution

from search_spaces.shared import EMBEDDING, FEATURE_ASPECT, FIELD_ASPECT, PAPER_INTERACTION_AWARE, TRAINING

SPACE = {
    **TRAINING,
    **EMBEDDING,
    **FEATURE_ASPECT,
    **FIELD_ASPECT,
    "model.hidden_dims": CategoricalDistribution(("[5]", "[32]", "[128]", "[64, 32]")),
}
PAPER = {**PAPER_INTERACTION_AWARE, "model.hidden_dims": "[5]"}
