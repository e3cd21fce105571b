"""Prepared data in memory: what `prepare` wrote, as tensors."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor

from pipelines.project.files import file_digest

PIECE = 262_144  # rows that are read at a time where not all are held: a row group of the files


@dataclass(frozen=True)
class Rows:
    """One split: features `[rows, fields]` of global feature ids (int32), labels `[rows]` ±1 (float32), and values
    `[rows, fields]` of the features (float32), None where all are 1."""

    features: Tensor
    labels: Tensor
    values: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def inputs(self, rows: Tensor | slice) -> tuple[Tensor, ...]:
        """Pick ids and, if any, values of some rows."""
        tensors = [self.features] if self.values is None else [self.features, self.values]
        return tuple(t[rows] if isinstance(rows, slice) else t.index_select(0, rows) for t in tensors)

    def to(self, device: str | torch.device) -> "Rows":
        values = None if self.values is None else self.values.to(device)
        return Rows(self.features.to(device), self.labels.to(device), values)


def load_schema(folder: Path) -> dict[str, Any]:
    """Read the schema of a prepared data set. Raises ValueError that names the stage to run where that fails."""
    return read_json(folder, "schema.json")


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Read a file of a prepared data set. Raises ValueError that names the stage to run where that fails."""
    path, run_again = folder / name, f"run python -m pipelines.prepare --dataset {folder.name}"
    if not path.exists():
        raise ValueError(f"no prepared data in {folder}: {run_again}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise ValueError(f"{path} is damaged: {run_again}") from error


def load_rows(folder: Path, split: str) -> Rows:
    """One split of a prepared data set. Raises ValueError when its file is not the one that `prepare` wrote."""
    return to_rows(pl.read_parquet(split_file(folder, split)))


def pieces(file: Path) -> Iterator[Rows]:
    """All rows of a split's file, `PIECE` at a time."""
    num_rows = pl.scan_parquet(file).select(pl.len()).collect().item()
    return (read_rows(file, start, min(PIECE, num_rows - start)) for start in range(0, num_rows, PIECE))


def read_rows(file: Path, start: int, num_rows: int) -> Rows:
    """Some rows of a split's file. Of its row groups, only those are read that have some of them."""
    return to_rows(pl.scan_parquet(file).slice(start, num_rows).collect())


def split_file(folder: Path, split: str) -> Path:
    """The file of a split. Raises ValueError when it is not the one that `prepare` wrote."""
    path = folder / f"{split}.parquet"
    files = read_json(folder, "files.json")
    if not path.exists() or file_digest(path) != files[path.name]:
        raise ValueError(f"{path} is damaged: run python -m pipelines.prepare --dataset {folder.name}")
    return path


def to_rows(table: pl.DataFrame) -> Rows:
    """The rows of a split's table: label, feature ids (Int32) and, if any, values (Float32)."""
    labels = torch.tensor(table["label"].to_numpy(), dtype=torch.float32)
    features = torch.tensor(table.select(pl.col(pl.Int32)).to_numpy(order="c"))
    values = table.select(pl.col(pl.Float32))
    return Rows(features, labels, torch.tensor(values.to_numpy(order="c")) if values.width else None)
