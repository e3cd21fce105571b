"""Train with torchfm (pytorch-fm) by the loop of its examples/main.py, on the CPU.

Its models end in a sigmoid, and the loss is BCELoss.
"""

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


def build(name: str, field_dims: np.ndarray, attention_dim: int) -> nn.Module:
    """Build the package's model without dropout. Batch norm in its hidden layers can't be turned off."""
    if name == "fm":
        return torchfm.model.fm.FactorizationMachineModel(field_dims, EMBED_DIM)
    if name == "deepfm":
        return torchfm.model.dfm.DeepFactorizationMachineModel(field_dims, EMBED_DIM, HIDDEN_DIMS[name], 0.0)
    if name == "nfm":
        model = torchfm.model.nfm.NeuralFactorizationMachineModel
        return model(field_dims, EMBED_DIM, HIDDEN_DIMS[name], (0.0, 0.0))
    if name == "afm":
        model = torchfm.model.afm.AttentionalFactorizationMachineModel
        return model(field_dims, EMBED_DIM, attention_dim, (0.0, 0.0))
    if name == "ffm":
        return torchfm.model.ffm.FieldAwareFactorizationMachineModel(field_dims, EMBED_DIM)
    raise ValueError(f"torchfm has no {name}")


def train(model: nn.Module, optimizer: torch.optim.Optimizer, loader: TimedLoader, criterion: nn.Module) -> None:
    """Train for one epoch."""
    model.train()
    for fields, target in loader:
        y = model(fields)
        loss = criterion(y, target.float())
        model.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # the package's loop adds this up for its progress bar


def main() -> None:
    args = command_line()
    torch.set_num_threads(args.threads)
    torch.manual_seed(2019)
    schema, rows = read_schema(args.data), np.load(args.data / "train.npz")
    offsets = np.cumsum([0, *schema["field_dims"][:-1]])
    dataset = RowsDataset(rows["features"].astype(np.int64) - offsets, (rows["labels"] > 0).astype(np.float32))
    loader = TimedLoader(DataLoader(dataset, args.batch_size, shuffle=True), args, len(dataset))
    model = build(args.model, np.array(schema["field_dims"]), args.attention_dim)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=LEARNING_RATE)
    try:
        while True:
            train(model, optimizer, loader, nn.BCELoss())
    except MeasuredError:
        print_record(loader.record(), "torchfm", "torch", "numpy", loss="BCE")


if __name__ == "__main__":
    sys.exit(main())
