"""Define the search space of `deepfm`.

The paper's setting is from its text, in the size of the IFM paper's baseline. The learning rate is from the code
released with NFM, for Adagrad; the paper trains with Adam.
"""

from search_spaces.shared import EMBEDDING, MLP, PAPER_TRAINING, TRAINING

SPACE = {**TRAINING, **EMBEDDING, **MLP}
PAPER = {
    **PAPER_TRAINING,
    "training.learning_rate": 0.05,
    "model.embed_dim": 256,
    "model.dropout": 0.0,
    "model.hidden_dims": "[100]",
    "model.mlp_dropout": 0.5,
}
