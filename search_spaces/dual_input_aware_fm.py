"""Define the search space of `dual_input_aware_fm`.

The first setting has the sizes of RefineCTR for Frappe; the paper has none for Frappe. RefineCTR trains with Adam, in
batches of 1000 to 5000.
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.shared import EMBED_DIM, PAPER_TRAINING, TRAINING

SPACE = {
    **TRAINING,
    **EMBED_DIM,
    "model.num_heads": CategoricalDistribution((1, 2, 4, 8)),
    "model.head_dim": CategoricalDistribution((8, 16, 32)),
    "model.hidden_dims": CategoricalDistribution(("[128]", "[256, 256]", "[256, 256, 256]")),
    "model.mlp_dropout": FloatDistribution(0.0, 0.9),
    "model.batch_norm": CategoricalDistribution((False, True)),
}
PAPER = {
    **PAPER_TRAINING,
    "training.learning_rate": 0.01,
    "training.batch_size": 2048,
    "model.embed_dim": 16,
    "model.num_heads": 4,
    "model.head_dim": 16,
    "model.hidden_dims": "[256, 256, 256]",
    "model.mlp_dropout": 0.5,
    "model.batch_norm": True,
}
