"""Train plain.py's models with a DataLoader, MSE and torch's own Adagrad."""

import argparse
import sys
from collections.abc import Sequence

import numpy as np
import plain
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

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


def build(args: argparse.Namespace, field_dims: Sequence[int]) -> nn.Module:
    """Build the model of that name in the sizes that all sides have."""
    interactions = (field_dims, EMBED_DIM, args.attention_dim, args.dropout)
    match args.model:
        case "fm":
            return plain.FM(field_dims, EMBED_DIM)
        case "deepfm":
            return plain.DeepFM(field_dims, EMBED_DIM, HIDDEN_DIMS["deepfm"])
        case "nfm":
            return plain.NFM(field_dims, EMBED_DIM, HIDDEN_DIMS["nfm"])
        case "afm":
            return plain.AFM(field_dims, EMBED_DIM, args.attention_dim)
        case "ffm":
            return plain.FFM(field_dims, EMBED_DIM)
        case "ifm":
            return plain.IFM(*interactions)
        case "inn":
            return plain.INN(*interactions, HIDDEN_DIMS["inn"])
        case "deepifm":
            return plain.DeepIFM(*interactions, HIDDEN_DIMS["deepifm"])
    raise ValueError(f"plain.py has no {args.model}")


def main() -> None:
    args = command_line()
    torch.set_num_threads(args.threads)
    torch.manual_seed(2019)
    schema, rows = read_schema(args.data), np.load(args.data / "train.npz")
    dataset = TensorDataset(torch.from_numpy(rows["features"]), torch.from_numpy(rows["labels"]))
    loader = TimedLoader(DataLoader(dataset, args.batch_size, shuffle=True), args, len(dataset))
    model, loss_function = build(args, schema["field_dims"]), nn.MSELoss()
    optimizer = torch.optim.Adagrad(model.parameters(), lr=LEARNING_RATE, initial_accumulator_value=1e-8)
    try:
        while True:
            for features, labels in loader:
                loss = loss_function(model(features), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    except MeasuredError:
        print_record(loader.record(), "torch", "numpy", loss="MSE")


if __name__ == "__main__":
    sys.exit(main())
