"""Define the search space of `eulernet`. The paper's setting is its authors' for Frappe, by their log."""

from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.shared import EMBED_DIM, FRAPPE_TRAINING, TRAINING

SPACE = {
    **TRAINING,
    **EMBED_DIM,
    "model.hidden_dims": CategoricalDistribution(("[10]", "[20, 20]", "[40, 40, 40]", "[52]")),
    "model.explicit_dropout": FloatDistribution(0.0, 0.5),
    "model.implicit_dropout": FloatDistribution(0.0, 0.5),
    "model.layer_norm": CategoricalDistribution((False, True)),
}
PAPER = {
    **FRAPPE_TRAINING,
    "model.embed_dim": 10,
    "model.hidden_dims": "[52]",
    "model.explicit_dropout": 0.0,
    "model.implicit_dropout": 0.0,
    "model.layer_norm": True,
}
