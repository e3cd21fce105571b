"""Define the search space of `tabm`. The paper's setting is the default of the authors' package.

Batches are those of the authors for as many rows. Their optimizer is AdamW at 0.002, which does not carry over to
Adagrad. They do not search the number of members.
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.shared import PAPER_TRAINING, TRAINING

SPACE = {
    **TRAINING,
    "model.embed_dim": CategoricalDistribution((8, 10, 16, 32)),
    "model.hidden_dims": CategoricalDistribution(("[64]", "[128, 128]", "[256, 256]", "[512, 512]", "[256, 256, 256]")),
    "model.mlp_dropout": FloatDistribution(0.0, 0.9),
    "model.num_members": CategoricalDistribution((4, 8, 16, 32)),
    "model.structure": CategoricalDistribution(("full", "mini")),
    "model.first_scaling": CategoricalDistribution(("normal", "signs")),
}
PAPER = {
    **PAPER_TRAINING,
    "training.learning_rate": 0.01,
    "training.batch_size": 512,
    "model.embed_dim": 16,
    "model.hidden_dims": "[512, 512]",
    "model.mlp_dropout": 0.1,
    "model.num_members": 32,
    "model.structure": "full",
    "model.first_scaling": "normal",
}
