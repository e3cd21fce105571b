from itertools import product

import numpy as np

from pipelines.project.seeds import seed_for


def test_seeds_stay_the_same_forever():
    assert seed_for(2019, "tune", "frappe", "ifm", 3) == 2507577102
    assert seed_for(0) == 2583942801


def test_another_key_or_root_or_order_is_another_seed():
    keys = [
        (),
        ("a",),
        ("b",),
        ("a", "b"),
        ("b", "a"),
        ("ab",),
        ("a, b",),
        ("a", 1),
        ("a", "1"),
        ("a", 1, 1),
        ("a", 11),
    ]
    seeds = [seed_for(root, *key) for root, key in product((0, 1, -1, 10), keys)]
    assert len(set(seeds)) == len(seeds)


def test_seeds_are_spread_over_32_bits():
    seeds = np.array([seed_for(2019, "evaluate", "frappe", "fm", n) for n in range(2000)])
    assert seeds.min() >= 0
    assert seeds.max() < 2**32
    assert len(set(seeds)) == 2000
    counts = np.histogram(seeds, bins=16, range=(0, 2**32))[0]
    assert ((counts - 125) ** 2 / 125).sum() < 37.7  # χ² with 15 degrees of freedom: 0.1 %
