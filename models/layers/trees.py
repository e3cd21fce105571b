"""Sum the leaves of decision trees, and encode features as columns for them."""

import importlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.kernels.calls import in_parts, loops
from models.layers.batch import Batch
from models.layers.means import fitted

NUM_FOLDS = 5
WORD = 32  # categories in a word of a set


class AbsentError(ValueError):
    """Tell that a package of an extra is not installed."""


def library(name: str) -> Any:
    """Import a package that only training needs. Raises AbsentError, which names the extra, where it is absent."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise AbsentError(f"to train {name}, its package is needed: pip install 'factorbench[trees]'") from error


class Saved(nn.Module):
    """Load tensors of any length, because the data decides how many there are.

    `check` raises RuntimeError for tensors that don't fit together, which may come from anywhere.
    """

    def check(self) -> None:
        """Accept all tensors."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        for name, own in [*self.named_parameters(recurse=False), *self.named_buffers(recurse=False)]:
            if (given := state_dict.get(prefix + name)) is not None and given.dim() == own.dim():
                own.data = own.new_zeros(given.shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self.check()


class Forest(Saved):
    """Sum one leaf of each tree: Σ_t leaf_t(row).

    A node sends a row to the left if its column is at most the threshold; or, if the node has words, if the category in
    its column is in the set of these bits. Children of 0 and above are nodes, and ~l is leaf l.
    Shape: columns `[batch, C]` → `[batch]`.
    """

    roots: Tensor
    column: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    first_word: Tensor
    num_words: Tensor
    words: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.num_columns = self.depth = 0
        self.leaves = fitted(0)
        for name in ("roots", "column", "left", "right", "first_word", "num_words"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int32))
        self.register_buffer("words", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("threshold", torch.zeros(0))

    def grow(self, leaves: np.ndarray, **parts: np.ndarray) -> None:
        """Take trees. Thresholds are rounded down, so that they part numbers of less precision alike."""
        at = parts["threshold"]
        rounded = torch.from_numpy(at).to(self.threshold.dtype)
        down = torch.nextafter(rounded, torch.full_like(rounded, -torch.inf))
        parts["threshold"] = torch.where(rounded.double() > torch.from_numpy(at), down, rounded).numpy()
        self.leaves.data = self.leaves.new_tensor(leaves)
        for name, values in parts.items():
            own = getattr(self, name)
            own.data = torch.from_numpy(values).to(own)
        self.check()

    def check(self) -> None:
        """Raise RuntimeError for parts that are no trees; else find the depth and how many columns they need."""
        roots, column, left, right, first, num = (
            getattr(self, name).cpu().numpy().astype(np.int64)
            for name in ("roots", "column", "left", "right", "first_word", "num_words")
        )
        size = len(column)
        if not all(len(part) == size for part in (left, right, first, num, self.threshold)):
            raise RuntimeError("its trees have nodes without all parts")
        children = np.concatenate([roots, left, right])
        if ((children >= size) | (~children >= len(self.leaves))).any():
            raise RuntimeError("its trees have children that are not there")
        if (column < 0).any():
            raise RuntimeError("its trees ask for columns that are not there")
        self.num_columns = 1 + int(column.max(initial=-1))
        if ((first >= 0) & ((num < 0) | (first + num > len(self.words)))).any():
            raise RuntimeError("its trees have sets without words")
        self.depth, level = 0, roots[roots >= 0]
        seen = np.zeros(size, bool)
        while len(level):
            if len(np.unique(level)) < len(level) or seen[level].any():
                raise RuntimeError("its trees have a node with two parents")
            seen[level] = True
            level = np.concatenate([left[level], right[level]])
            self.depth, level = self.depth + 1, level[level >= 0]

    def forward(self, columns: Tensor, kernels: bool = False) -> Tensor:
        if columns.shape[1] < self.num_columns:
            raise ValueError(f"the trees ask for {self.num_columns} columns, but rows have {columns.shape[1]}")
        if kernels and columns.device.type == "cpu":
            out = columns.new_empty(len(columns))
            parts = self.roots, self.column, self.threshold, self.left, self.right
            parts += self.first_word, self.num_words, self.words, self.leaves
            work = len(columns) * len(self.roots) * max(1, self.depth)
            in_parts(loops().sum_leaves, len(columns), work, columns.contiguous(), *parts, out)
            return out
        if not len(self.roots):
            return columns.new_zeros(columns.shape[0])
        parts = self.roots, self.column, self.left, self.right, self.first_word, self.num_words
        roots, column, left, right, first_word, num_words = (part.long() for part in parts)
        node = roots.expand(columns.shape[0], -1)  # [batch, T]
        for _ in range(self.depth):
            inner = node.clamp(min=0)
            x = columns.gather(1, column[inner])
            goes_left = x <= self.threshold[inner]
            if len(self.words):
                first = first_word[inner]
                contains = self.contains(x.long(), first, num_words[inner])
                goes_left = (first < 0) & goes_left | (first >= 0) & contains
            node = torch.where(node < 0, node, torch.where(goes_left, left[inner], right[inner]))
        return self.leaves[-1 - node].sum(1)

    def contains(self, category: Tensor, first: Tensor, num_words: Tensor) -> Tensor:
        """Tell whether the set in some words has a category."""
        place = category // WORD
        inside = (category >= 0) & (place < num_words)
        word = self.words[torch.where(inside & (first >= 0), first + place, 0)]
        power = torch.tensor([1 << bit for bit in range(WORD)], device=word.device)
        return inside & (word // power[category.clamp(min=0) % WORD] % 2 == 1)


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
