"""Train with DeepCTR-Torch: `model.compile` and `model.fit`, task="regression" and MSE.

`model.fit` makes its own data loader.
"""

import sys

import deepctr_torch.models.basemodel
import numpy as np
import torch
from deepctr_torch.inputs import SparseFeat
from deepctr_torch.models import AFM, NFM, DeepFM
from torch.utils.data import DataLoader

from sides.timing import (
    EMBED_DIM,
    HIDDEN_DIMS,
    LEARNING_RATE,
    MeasuredError,
    TimedLoader,
    command_line,
    print_record,
    read_schema,
)

NO_PENALTY = {"l2_reg_linear": 0, "l2_reg_embedding": 0}


def build(name: str, columns: list[SparseFeat], attention_dim: int) -> torch.nn.Module:
    """Build the package's model without dropout or penalty.

    Its FM is a DeepFM without hidden layers; its NFM has no batch norm.
    """
    common = {**NO_PENALTY, "task": "regression", "device": "cpu"}
    if name == "fm":
        return DeepFM(columns, columns, dnn_hidden_units=(), **common)
    if name == "deepfm":
        return DeepFM(columns, columns, dnn_hidden_units=HIDDEN_DIMS[name], **common)
    if name == "nfm":
        return NFM(columns, columns, dnn_hidden_units=HIDDEN_DIMS[name], **common)
    if name == "afm":
        return AFM(columns, columns, attention_factor=attention_dim, l2_reg_att=0, **common)
    raise ValueError(f"DeepCTR-Torch has no {name}")


def main() -> None:
    args = command_line()
    torch.set_num_threads(args.threads)
    schema, rows = read_schema(args.data), np.load(args.data / "train.npz")
    offsets = np.cumsum([0, *schema["field_dims"][:-1]])
    inputs = dict(zip(schema["fields"], (rows["features"] - offsets).T, strict=True))
    columns = [
        SparseFeat(field, vocabulary_size=size, embedding_dim=EMBED_DIM)
        for field, size in zip(schema["fields"], schema["field_dims"], strict=True)
    ]
    model = build(args.model, columns, args.attention_dim)
    model.compile(torch.optim.Adagrad(model.parameters(), lr=LEARNING_RATE), loss="mse", metrics=[])
    loaders: list[TimedLoader] = []

    def timed_loader(*arguments: object, **options: object) -> TimedLoader:
        loaders.append(TimedLoader(DataLoader(*arguments, **options), args, len(rows["labels"])))
        return loaders[-1]

    deepctr_torch.models.basemodel.DataLoader = timed_loader
    try:
        model.fit(inputs, rows["labels"], batch_size=args.batch_size, epochs=10**6, verbose=2)
    except MeasuredError:
        print_record(loaders[-1].record(), "deepctr-torch", "torch", "numpy", loss="MSE")


if __name__ == "__main__":
    sys.exit(main())
