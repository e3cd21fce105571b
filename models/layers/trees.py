"""Sum the leaves of decision trees."""

import importlib
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.kernels.calls import in_parts, loops
from models.layers.means import fitted

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
