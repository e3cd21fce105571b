"""Train with torchfm (pytorch-fm) by the loop of its examples/main.py, on the CPU.

Its models end in a sigmoid, and the loss is BCELoss.
"""

import argparse
import functools
import sys

import numpy as np
import torch
import torchfm.model.afm
import torchfm.model.dfm
import torchfm.model.ffm
import torchfm.model.fm
import torchfm.model.nfm
from torch import nn
from torch.utils.data import DataLoader, Dataset

from sides.loop import Splits, best_auc, search
from sides.timing import (
    HIDDEN_DIMS,
    MeasuredError,
    TimedLoader,
    command_line,
    print_record,
    read_schema,
)


class RowsDataset(Dataset):
    """Return one row at a time, as the package's own data sets do.

    Ids are counted within their field; the label is 0 or 1.
    """

    def __init__(self, features: np.ndarray, targets: np.ndarray) -> None:
        self.features, self.targets = features, targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.float32]:
        return self.features[index], self.targets[index]


def load(args: argparse.Namespace, split: str) -> RowsDataset:
    """Load a split's rows."""
    schema, rows = read_schema(args.data), np.load(args.data / f"{split}.npz")
    offsets = np.cumsum([0, *schema["field_dims"][:-1]])
    return RowsDataset(rows["features"].astype(np.int64) - offsets, (rows["labels"] > 0).astype(np.float32))


def build(args: argparse.Namespace, field_dims: np.ndarray) -> nn.Module:
    """Build the package's model, of which only DeepFM has dropout.

    Batch norm in its hidden layers can't be turned off.
    """
    if args.model == "fm":
        return torchfm.model.fm.FactorizationMachineModel(field_dims, args.embed_dim)
    if args.model == "deepfm":
        return torchfm.model.dfm.DeepFactorizationMachineModel(
            field_dims, args.embed_dim, HIDDEN_DIMS[args.model], args.dropout
        )
    if args.model == "nfm":
        model = torchfm.model.nfm.NeuralFactorizationMachineModel
        return model(field_dims, args.embed_dim, HIDDEN_DIMS[args.model], (0.0, 0.0))
    if args.model == "afm":
        model = torchfm.model.afm.AttentionalFactorizationMachineModel
        return model(field_dims, args.embed_dim, args.attention_dim, (0.0, 0.0))
    if args.model == "ffm":
        return torchfm.model.ffm.FieldAwareFactorizationMachineModel(field_dims, args.embed_dim)
    raise ValueError(f"torchfm has no {args.model}")


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, loader: TimedLoader | DataLoader, criterion: nn.Module
) -> None:
    """Train for one epoch."""
    model.train()
    for fields, target in loader:
        y = model(fields)
        loss = criterion(y, target.float())
        model.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # the package's loop adds this up for its progress bar


def run_trial(args: argparse.Namespace, splits: Splits) -> float:
    """Train a model, and return the best epoch's AUC on the validation rows."""
    model = build(args, np.array(read_schema(args.data)["field_dims"]))
    return best_auc(args, splits, model, functools.partial(train, criterion=nn.BCELoss()))


def main() -> None:
    args = command_line()
    torch.set_num_threads(args.threads)
    if args.settings:
        return search(args, load, run_trial, "torchfm", "torch", "numpy")
    torch.manual_seed(2019)
    schema, dataset = read_schema(args.data), load(args, "train")
    loader = TimedLoader(DataLoader(dataset, args.batch_size, shuffle=True), args, len(dataset))
    model = build(args, np.array(schema["field_dims"]))
    optimizer = torch.optim.Adagrad(model.parameters(), lr=args.learning_rate)
    try:
        while True:
            train(model, optimizer, loader, nn.BCELoss())
    except MeasuredError:
        print_record(loader.record(), "torchfm", "torch", "numpy", loss="BCE")


if __name__ == "__main__":
    sys.exit(main())
