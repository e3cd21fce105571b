"""Choose few test cases that contain every pair of values of every two factors."""

from collections.abc import Iterable, Mapping
from itertools import combinations, product
from typing import Any

import pytest


def pairwise_rows(factors: Mapping[str, Iterable[Any]]) -> list[tuple[Any, ...]]:
    """Choose combinations until they contain every pair of values.

    Each chosen row is one that adds the most missing pairs.
    """
    possible = list(product(*(range(len(list(values))) for values in factors.values())))
    pairs_of = {row: set(combinations(enumerate(row), 2)) for row in possible}
    missing, chosen = set().union(*pairs_of.values()), []
    while missing:
        row = max(possible, key=lambda row: len(pairs_of[row] & missing))
        missing -= pairs_of[row]
        chosen.append(row)
    columns = [list(values) for values in factors.values()]
    return [tuple(column[place] for column, place in zip(columns, row, strict=True)) for row in chosen]


def pairwise(indirect: Iterable[str] = (), **factors: Iterable[Any]) -> pytest.MarkDecorator:
    """Parametrize a test with `pairwise_rows(factors)`; `indirect` names the factors that are fixtures."""
    rows = [pytest.param(*row, id=", ".join(map(str, row))) for row in pairwise_rows(factors)]
    return pytest.mark.parametrize(tuple(factors), rows, indirect=list(indirect))
