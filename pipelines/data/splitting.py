"""Split rows into train, valid and test."""

from fractions import Fraction
from math import ceil

import numpy as np


def split_rows(num_rows: int, train: float, valid: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Split one permutation of the row numbers."""
    return split_in_order(rng.permutation(num_rows), train, valid)


def split_in_order(rows: np.ndarray, train: float, valid: float) -> dict[str, np.ndarray]:
    """Split row numbers as they stand: ⌈train share⌉, ⌈valid share⌉ and the rest.

    Shares are exact decimals: 0.07 of 100 rows is 7 rows, not 8 as with floats. Rounding up gives the sizes of the
    released Frappe split.
    """
    num_train, num_valid = (ceil(Fraction(str(share)) * len(rows)) for share in (train, valid))
    parts = np.split(rows, [num_train, num_train + num_valid])
    return dict(zip(("train", "valid", "test"), parts, strict=True))


def split_groups(groups: np.ndarray, train: float, valid: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Split the row numbers so that all rows of a group are in one part.

    `groups` [rows] numbers groups from 0. The groups are taken in a drawn order, and each part ends where its number of
    rows is nearest to the share. Rows are permuted, as `split_rows` does.
    """
    sizes = np.bincount(groups)
    order = rng.permutation(len(sizes))
    ends = np.cumsum(sizes[order])
    wanted = np.cumsum([ceil(Fraction(str(share)) * len(groups)) for share in (train, valid)])
    cuts = [np.abs(ends - rows).argmin() for rows in wanted]  # the last group of train and of valid
    part = np.empty(len(sizes), dtype=np.int8)
    part[order] = np.searchsorted(cuts, np.arange(len(sizes)))
    rows = rng.permutation(len(groups))
    part_of_rows = part[groups[rows]]
    return {name: rows[part_of_rows == number] for number, name in enumerate(("train", "valid", "test"))}
