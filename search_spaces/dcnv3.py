"""Define the search space of `dcnv3`. The paper's setting has the defaults of its authors' code."""

from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.shared import EMBED_DIM, FRAPPE_TRAINING, TRAINING

SPACE = {
    **TRAINING,
    **EMBED_DIM,
    "model.num_deep_layers": IntDistribution(1, 5),
    "model.num_shallow_layers": IntDistribution(1, 5),
    "model.deep_dropout": FloatDistribution(0.0, 0.5),
    "model.shallow_dropout": FloatDistribution(0.0, 0.5),
}
PAPER = {
    **FRAPPE_TRAINING,
    "model.embed_dim": 10,
    "model.num_deep_layers": 4,
    "model.num_shallow_layers": 4,
    "model.deep_dropout": 0.1,
    "model.shallow_dropout": 0.3,
}
