from itertools import combinations, product

import pytest
from pairwise import pairwise_rows


@pytest.mark.parametrize("sizes", [(2, 2), (3, 2, 2), (3, 8, 3, 2, 2, 3), (25, 2, 2), (1, 4, 1)])
def test_each_two_values_of_two_factors_come_together(sizes):
    factors = {f"factor {n}": range(size) for n, size in enumerate(sizes)}
    rows = pairwise_rows(factors)
    for (m, first), (n, second) in combinations(enumerate(factors.values()), 2):
        assert {(row[m], row[n]) for row in rows} == set(product(first, second))
    assert len(rows) == len(set(rows))
    largest, next_largest = sorted(sizes)[::-1][:2]
    assert len(rows) < 1.5 * largest * next_largest
