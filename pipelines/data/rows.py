"""Load prepared data as tensors."""

import dataclasses
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
import torch
from pydantic import ConfigDict, model_validator
from torch import Tensor

from models.kernels.bags import Bags
from models.layers.batch import Batch
from pipelines.data.own import WEIGHT
from pipelines.project.files import file_digest
from pipelines.project.records import Missing, Record, damaged, read_record

R = TypeVar("R")

PIECE = 262_144  # rows per read when the split is not held in memory: one row group of the files


class DataSchema(Record):
    """Describe the data in schema.json. `values` has the digest of each split's values."""

    model_config = ConfigDict(extra="allow")

    dataset: str
    fields: list[str]
    field_dims: list[int]
    num_features: int
    num_rows: dict[str, int]
    values: dict[str, str]

    @model_validator(mode="after")
    def fit_together(self) -> "DataSchema":
        if len(self.fields) != len(self.field_dims) or sum(self.field_dims) != self.num_features:
            raise ValueError("fields, field_dims and num_features don't fit together")
        for name, there in (("num_rows", self.num_rows), ("values", self.values)):
            if missing := {"train", "valid", "test"} - there.keys():
                raise ValueError(f"{name} lacks {min(missing)}")
        return self


@dataclass(frozen=True)
class Rows:
    """Hold the rows of one split.

    `features` `[rows, fields]` are global feature ids (int32); `labels` `[rows]` are ±1 (float32). `values`
    `[rows, fields]` are the values of the features (float32), or None if all are 1. `bags` are the lists of features
    that ids stand for, or None without such fields. `groups` `[rows]` are numbers of the groups by which a metric may
    be computed, such as users, or None; they stay on the CPU. `weights` `[rows]` multiply the rows' training loss
    (float32); None if all are 1.
    """

    features: Tensor
    labels: Tensor
    values: Tensor | None = None
    bags: Bags | None = None
    groups: Tensor | None = None
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: Tensor | slice, kernels: bool = False) -> Batch:
        """Select some rows as a batch."""
        tensors = (self.features, self.values)
        ids, values = (
            t if t is None else t[rows] if isinstance(rows, slice) else t.index_select(0, rows) for t in tensors
        )
        return Batch(ids, values, kernels, self.bags)  # type: ignore[arg-type]

    def groups_by(self, group: int | None) -> Tensor | None:
        """Return the features of field number `group` as groups; without it the groups that rows have."""
        return self.groups if group is None else self.features[:, group].clone()

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name, each with a row for each row of the split."""
        tensors = {
            "features": self.features,
            "labels": self.labels,
            "values": self.values,
            "groups": self.groups,
            "weights": self.weights,
        }
        return {name: tensor for name, tensor in tensors.items() if tensor is not None}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the tensors as arrays: Ray then keeps one copy for all its workers on a machine."""
        return from_arrays, ({name: tensor.cpu().numpy() for name, tensor in self.tensors().items()}, self.bags)

    def sample(self, num_rows: int, seed: int) -> "Rows":
        """Draw rows without replacement, in their order."""
        drawn = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:num_rows].sort().values
        return Rows(**{name: tensor[drawn] for name, tensor in self.tensors().items()}, bags=self.bags)  # type: ignore[arg-type]

    def to(self, device: str | torch.device) -> "Rows":
        bags = self.bags and Bags(self.bags.first, self.bags.elements.to(device), self.bags.offsets.to(device))
        tensors: dict[str, Any] = {
            name: tensor if name == "groups" else tensor.to(device) for name, tensor in self.tensors().items()
        }
        return Rows(**tensors, bags=bags)


def from_arrays(arrays: dict[str, np.ndarray], bags: Bags | None) -> Rows:
    """Make rows of arrays, which stay where they are. They may be read-only: nothing writes to rows."""
    with warnings.catch_warnings(action="ignore"):  # of read-only arrays
        tensors: dict[str, Any] = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return Rows(**tensors, bags=bags)


def load_schema(folder: Path) -> dict[str, Any]:
    """Read the schema of a prepared data set. Raises ValueError that names the stage to run."""
    return read_prepared(folder, "schema.json", DataSchema).model_dump()


def read_prepared(folder: Path, name: str, kind: type[R]) -> R:
    """Read a JSON file of a prepared data set. Raises ValueError that names the stage to run."""
    if not (folder / name).exists():
        raise Missing(f"no prepared data in {folder}: run {command(folder)}")
    return read_record(folder / name, kind, command(folder))


def command(folder: Path) -> str:
    """Name the command that prepares a data set."""
    return f"python -m pipelines.prepare --dataset {folder.name}"


def load_rows(folder: Path, split: str, group: int | None = None) -> Rows:
    """Load one split of a prepared data set. Raises ValueError if its file is missing or has changed.

    Groups are the features of field number `group`; without it those of the file, if it has some.
    """
    file = split_file(folder, split)
    rows = joined(pieces(file), count_rows(file))
    return dataclasses.replace(rows, bags=load_bags(folder), groups=rows.groups_by(group))


def joined(parts: Iterable[Rows], num_rows: int) -> Rows:
    """Put parts, with `num_rows` rows in all, one below the other. No second copy of all rows is made."""
    whole: dict[str, Tensor] = {}
    at = 0
    for part in parts:
        given = part.tensors()
        whole = whole or {name: tensor.new_empty(num_rows, *tensor.shape[1:]) for name, tensor in given.items()}
        for name, tensor in given.items():
            whole[name][at : at + len(part)] = tensor
        at += len(part)
    return Rows(**whole)  # type: ignore[arg-type]


def load_bags(folder: Path) -> Bags | None:
    """Load the lists of features of a prepared data set; None where no field holds lists."""
    if "lists.parquet" not in read_prepared(folder, "files.json", dict[str, str]):
        return None
    return bags_of(pl.read_parquet(split_file(folder, "lists"))["elements"], load_schema(folder)["num_features"])


def bags_of(lists: pl.Series, first: int) -> Bags:
    """Make the lists of features that ids from `first` on stand for."""
    elements = torch.tensor(lists.explode().to_numpy(), dtype=torch.int32)
    return Bags(first, elements, torch.tensor([0, *lists.list.len().cum_sum().to_list()]))


def pieces(file: Path) -> Iterator[Rows]:
    """Read all rows of a split's file, `PIECE` rows at a time."""
    num_rows = count_rows(file)
    return (read_rows(file, start, min(PIECE, num_rows - start)) for start in range(0, max(1, num_rows), PIECE))


def count_rows(file: Path) -> int:
    return pl.scan_parquet(file).select(pl.len()).collect().item()


def read_rows(file: Path, start: int, num_rows: int) -> Rows:
    """Read some rows of a split's file. Only the row groups with these rows are read."""
    return to_rows(pl.scan_parquet(file).slice(start, num_rows).collect())


def split_file(folder: Path, split: str) -> Path:
    """Return the path of a split's file. Raises ValueError if it is missing or has changed since `prepare`."""
    path = folder / f"{split}.parquet"
    files = read_prepared(folder, "files.json", dict[str, str])
    if not path.exists() or file_digest(path) != files.get(path.name):
        raise damaged(path, "it is not the file that was prepared", command(folder))
    return path


def to_rows(table: pl.DataFrame) -> Rows:
    """Convert a split's table to tensors.

    Its Int32 columns are feature ids, its UInt32 column groups, and its Float32 columns values or weights.
    """
    labels = torch.tensor(table["label"].to_numpy(), dtype=torch.float32)
    features = torch.tensor(table.select(pl.col(pl.Int32)).to_numpy(order="c"))
    values = table.select(pl.col(pl.Float32).exclude(WEIGHT))
    groups = table.select(pl.col(pl.UInt32).cast(pl.Int32))
    return Rows(
        features,
        labels,
        torch.tensor(values.to_numpy(order="c")) if values.width else None,
        groups=torch.tensor(groups.to_series().to_numpy()) if groups.width else None,
        weights=torch.tensor(table[WEIGHT].to_numpy()) if WEIGHT in table.columns else None,
    )
