"""Prepared data in memory: what `prepare` wrote, as tensors."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """One split: features `[rows, fields]` of global feature ids (int32), labels `[rows]` ±1 (float32)."""

    features: Tensor
    labels: Tensor

    def to(self, device: str) -> "Rows":
        return Rows(self.features.to(device), self.labels.to(device))


def load_schema(folder: Path) -> dict[str, Any]:
    """schema.json of a prepared data set. Raises ValueError that names the stage to run when it is not there."""
    path = folder / "schema.json"
    if not path.exists():
        raise ValueError(f"no prepared data in {folder}: run python -m pipelines.prepare --dataset {folder.name}")
    return json.loads(path.read_text(encoding="utf-8"))


def load_rows(folder: Path, split: str) -> Rows:
    """One split of a prepared data set."""
    table = pl.read_parquet(folder / f"{split}.parquet")
    features = table.drop("label").to_numpy(order="c")
    return Rows(torch.tensor(features), torch.tensor(table["label"].to_numpy(), dtype=torch.float32))
