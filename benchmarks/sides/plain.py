"""Train plain.py's models with a DataLoader, MSE and torch's own Adagrad."""

import argparse
import sys
from collections.abc import Sequence

import numpy as np
import plain
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sides.loop import Splits, best_auc, search
from sides.timing import (
    HIDDEN_DIMS,
    MeasuredError,
    TimedLoader,
    command_line,
    print_record,
    read_schema,
)


def build(args: argparse.Namespace, field_dims: Sequence[int]) -> nn.Module:
    """Build the model of that name in the sizes that all sides have."""
    interactions = (field_dims, args.embed_dim, args.attention_dim, args.dropout)
    match args.model:
        case "fm":
            return plain.FM(field_dims, args.embed_dim)
        case "deepfm":
            return plain.DeepFM(field_dims, args.embed_dim, HIDDEN_DIMS["deepfm"])
        case "nfm":
            return plain.NFM(field_dims, args.embed_dim, HIDDEN_DIMS["nfm"])
        case "afm":
            return plain.AFM(field_dims, args.embed_dim, args.attention_dim)
        case "ffm":
            return plain.FFM(field_dims, args.embed_dim)
        case "ifm":
            return plain.IFM(*interactions)
        case "inn":
            return plain.INN(*interactions, HIDDEN_DIMS["inn"])
        case "deepifm":
            return plain.DeepIFM(*interactions, HIDDEN_DIMS["deepifm"])
    raise ValueError(f"plain.py has no {args.model}")


def load(args: argparse.Namespace, split: str) -> TensorDataset:
    """Load a split's rows."""
    rows = np.load(args.data / f"{split}.npz")
    return TensorDataset(torch.from_numpy(rows["features"]), torch.from_numpy(rows["labels"]))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, loader: TimedLoader | DataLoader) -> None:
    """Train for one epoch."""
    model.train()
    loss_function = nn.MSELoss()
    for features, labels in loader:
        loss = loss_function(model(features), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def run_trial(args: argparse.Namespace, splits: Splits) -> float:
    """Train a model, and return the best epoch's AUC on the validation rows."""
    model = build(args, read_schema(args.data)["field_dims"])
    return best_auc(args, splits, model, train)


def main() -> None:
    args = command_line()
    torch.set_num_threads(args.threads)
    if args.settings:
        return search(args, load, run_trial, "torch", "numpy")
    torch.manual_seed(2019)
    schema, dataset = read_schema(args.data), load(args, "train")
    loader = TimedLoader(DataLoader(dataset, args.batch_size, shuffle=True), args, len(dataset))
    model = build(args, schema["field_dims"])
    optimizer = torch.optim.Adagrad(model.parameters(), lr=args.learning_rate, initial_accumulator_value=1e-8)
    try:
        while True:
            train(model, optimizer, loader)
    except MeasuredError:
        print_record(loader.record(), "torch", "numpy", loss="MSE")


if __name__ == "__main__":
    sys.exit(main())
