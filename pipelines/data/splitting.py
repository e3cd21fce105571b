"""Split rows into train, valid and test."""

from fractions import Fraction
from math import ceil

import numpy as np


def split_rows(num_rows: int, train: float, valid: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Split one permutation of the row numbers: ⌈train share⌉, ⌈valid share⌉ and the rest.

    Shares are exact decimals: 0.07 of 100 rows is 7 rows, not 8 as with floats. Rounding up gives the sizes of the
    released Frappe split.
    """
    num_train, num_valid = (ceil(Fraction(str(share)) * num_rows) for share in (train, valid))
    parts = np.split(rng.permutation(num_rows), [num_train, num_train + num_valid])
    return dict(zip(("train", "valid", "test"), parts, strict=True))
