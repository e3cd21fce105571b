"""Encode features as columns for trees: their mean labels, counts and statistics of combinations."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.layers.batch import Batch
from models.layers.means import fitted
from models.layers.trees import Saved

NUM_FOLDS = 5


class FoldMeans(Saved):
    """Encode each feature by its mean label and its count in training rows.

    The mean is (Σ y + λ μ) / (n + λ) over the feature's n rows, with the mean label μ. A training row's own encoding
    is from the other folds alone, so it does not know the row's label; counts are then scaled to all folds.
    Shape: → `[batch, 2 n]`, all means and then all counts.
    """

    def __init__(self, num_features: int, smoothing: float) -> None:
        super().__init__()
        self.num_features, self.smoothing = num_features, smoothing
        self.means, self.counts = fitted(num_features), fitted(num_features)

    def check(self) -> None:
        """Raise RuntimeError for tables of other features."""
        if not len(self.means) == len(self.counts) == self.num_features:
            raise RuntimeError("its means are those of other features")

    @torch.no_grad()
    def fit(self, batch: Batch, labels: Tensor) -> Tensor:
        """Fit the tables to training rows, and return these rows' encoding."""
        size, y = len(self.means), labels.double()
        fold = torch.randint(NUM_FOLDS, (len(y),)).to(y.device)
        counts, sums = y.new_zeros(2, NUM_FOLDS * size)
        for ids in batch.ids.T:
            counts += torch.bincount(fold * size + ids, minlength=NUM_FOLDS * size)
            sums += torch.bincount(fold * size + ids, y, minlength=NUM_FOLDS * size)
        counts, sums = counts.view(NUM_FOLDS, size), sums.view(NUM_FOLDS, size)
        self.means.copy_(self.smooth(sums.sum(0), counts.sum(0), y.mean()))
        self.counts.copy_(counts.sum(0))
        total, rows = torch.bincount(fold, y, minlength=NUM_FOLDS), torch.bincount(fold, minlength=NUM_FOLDS)
        prior = ((total.sum() - total) / (rows.sum() - rows).clamp(min=1))[:, None]
        others, seen = sums.sum(0) - sums, counts.sum(0) - counts  # [folds, features], of the other folds
        means, seen = self.smooth(others, seen, prior), seen * (NUM_FOLDS / (NUM_FOLDS - 1))
        return torch.cat([table.to(self.means.dtype)[fold[:, None], batch.ids] for table in (means, seen)], 1)

    def smooth(self, sums: Tensor, counts: Tensor, prior: Tensor) -> Tensor:
        return (sums + self.smoothing * prior) / (counts + self.smoothing)

    def forward(self, batch: Batch) -> Tensor:
        ids = batch.ids.long()
        return torch.cat([self.means[ids], self.counts[ids]], 1)


class CategoryStatistics(Saved):
    """Compute statistics of combinations of categories: how often training rows have one, and its mean label.

    The mean of the labels 0 and 1 is (positives + prior) / (rows + prior_rows); the count is divided by the largest
    count instead of the rows. Both are shifted and scaled. A part of a combination is a category in a column, or
    whether a column's number is above a border. `keys` are hashes of combinations, ascending in each table.
    Shape: columns `[batch, C]` → `[batch, statistics]`.
    """

    part_column: Tensor
    part_border: Tensor
    parts: Tensor
    keys: Tensor
    counts: Tensor
    positives: Tensor
    tables: Tensor
    table: Tensor
    numbers: Tensor

    MULTIPLIER = 0x4906BA494954CB65

    def __init__(self, num_columns: int) -> None:
        super().__init__()
        self.num_inputs = num_columns
        for name, dtype in (("part_column", torch.int32), ("keys", torch.int64), ("table", torch.int32)):
            self.register_buffer(name, torch.zeros(0, dtype=dtype))
        for name in ("part_border", "counts", "positives"):
            self.register_buffer(name, torch.zeros(0))
        for name in ("parts", "tables"):  # where the parts of each combination and its keys start, and the end
            self.register_buffer(name, torch.zeros(1, dtype=torch.int64))
        self.register_buffer("numbers", torch.zeros(0, 5))  # prior, prior_rows, shift, scale; the largest count, or 0
        self.known: dict[Any, Any] = {}  # what was fitted, by combination
        self.combinations: list[Any] = []
        self.wanted: list[tuple[int, list[float]]] = []

    def fit(self, wanted: Sequence[Any], columns: Tensor, labels: Tensor) -> None:
        """Fit the wanted statistics to training rows; what was fitted before is taken from there."""
        combinations = list(dict.fromkeys(parts for parts, *_ in wanted))
        for parts in combinations:
            if parts not in self.known:
                keys, place = self.hashes(columns, parts).unique(return_inverse=True)
                counts, positives = (torch.bincount(place, each) for each in (labels * 0 + 1.0, (labels > 0) * 1.0))
                self.known[parts] = keys, counts.float(), positives.float()
        fitted = [self.known[parts] for parts in combinations]
        every = [part for parts in combinations for part in parts]
        largest = [float(counts.max()) for _, counts, _ in fitted]
        table = [combinations.index(parts) for parts, *_ in wanted]
        numbers = [
            [*rest, largest[at] if counted else 0.0] for at, (_, counted, *rest) in zip(table, wanted, strict=True)
        ]
        self.put("part_column", [column for column, _ in every])
        self.put("part_border", [torch.nan if border is None else border for _, border in every])
        self.put("parts", np.cumsum([0, *map(len, combinations)]))
        self.put("tables", np.cumsum([0, *(len(keys) for keys, *_ in fitted)]))
        self.put("table", table)
        self.numbers.data = self.numbers.new_tensor(numbers).view(-1, 5)
        for name, values in zip(("keys", "counts", "positives"), zip(*fitted, strict=True), strict=False):
            self.put(name, torch.cat(values))
        self.check()

    def put(self, name: str, values: Any) -> None:
        own = getattr(self, name)
        own.data = torch.as_tensor(values).to(own)

    def hashes(self, columns: Tensor, parts: Sequence[tuple[int, float | None]]) -> Tensor:
        """Hash the combination of each row, `[batch]`; products are taken modulo 2⁶⁴."""
        key = torch.zeros_like(columns[:, 0], dtype=torch.int64)
        for column, border in parts:
            x = columns[:, column]
            key = key * self.MULTIPLIER + (x if border is None else x > border).long() + 1
        return key

    def check(self) -> None:
        """Raise RuntimeError for parts that don't fit together."""
        names = ("parts", "tables", "part_column", "part_border", "table", "numbers")
        parts, tables, column, border, table, numbers = (getattr(self, name).tolist() for name in names)
        for ends, size in ((parts, len(column)), (tables, len(self.keys))):
            if ends[:1] != [0] or ends[-1] != size or sorted({*ends}) != ends:
                raise RuntimeError("its statistics have tables that don't fit together")
        if len(parts) != len(tables) or not len(column) == len(self.part_border):
            raise RuntimeError("its statistics have tables without all parts")
        if not len(self.keys) == len(self.counts) == len(self.positives) or self.numbers.shape != (len(table), 5):
            raise RuntimeError("its statistics have keys without numbers")
        if any(not 0 <= each < self.num_inputs for each in column) or any(not 0 <= t < len(tables) - 1 for t in table):
            raise RuntimeError("its statistics ask for columns that are not there")
        every = [(at, None if above != above else above) for at, above in zip(column, border, strict=True)]
        self.combinations = [
            (every[slice(*pairs)], slice(*keys)) for pairs, keys in zip(pairwise(parts), pairwise(tables), strict=True)
        ]
        self.wanted = list(zip(table, numbers, strict=True))

    def forward(self, columns: Tensor) -> Tensor:
        found = []
        for parts, own in self.combinations:
            key = self.hashes(columns, parts)
            place = torch.searchsorted(self.keys[own], key).clamp(max=own.stop - own.start - 1)
            known = self.keys[own][place] == key
            found.append((known * self.counts[own][place], known * self.positives[own][place]))
        statistics = []
        for number, (prior, prior_rows, shift, scale, largest) in self.wanted:
            counts, positives = found[number]
            good, rows = (counts, torch.full_like(counts, largest)) if largest else (positives, counts)
            statistics.append(((good + prior) / (rows + prior_rows) + shift) * scale)
        return torch.stack(statistics, 1).to(columns.dtype) if statistics else columns[:, :0]


def own_ids(batch: Batch, field_dims: Sequence[int]) -> Tensor:
    """Count the features of each field from 0, `[batch, n]`."""
    sizes = torch.tensor([0, *field_dims[:-1]], device=batch.ids.device)
    return batch.ids - sizes.cumsum(0)
