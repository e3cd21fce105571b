"""torchfm (pytorch-fm): the loop of its examples/main.py, with its models' sigmoid and BCELoss, on the CPU."""

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
    """One row at a time, as the package's own data sets hand them out: ids counted within their field, label 0 or 1."""

    def __init__(self, features: np.ndarray, targets: np.ndarray) -> None:
        self.features, self.targets = features, targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.float32]:
        return self.features[index], self.targets[index]


def build(name: str, field_dims: np.ndarray, attention_dim: int) -> nn.Module:
    """The package's model without dropout; batch norm in its hidden layers can't be turned off."""
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
    """One epoch."""
    model.train()
    for fields, target in loader:
        y = model(fields)
        loss = criterion(y, target.float())
        model.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # summed for the progress bar there


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
