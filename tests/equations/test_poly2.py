from itertools import combinations

import pytest
import torch
from reference import FIELD_DIMS, assert_equals_loops, by_row, linear_terms, random_input, randomize

from models import registry
from models.layers.batch import Batch
from models.poly2 import bucket


def create(num_buckets=7):
    return registry.create("poly2", FIELD_DIMS, {"num_buckets": num_buckets})


def equation(num_buckets):
    # w_0 + Σ_i w_i x_i + Σ_{i<j} w_{h(i,j)} x_i x_j

    def logit(weights, ids, values):
        total = linear_terms(weights, ids, values)
        for (i, x_i), (j, x_j) in combinations(zip(ids, values, strict=True), 2):
            h = ((i + j) * (i + j + 1) // 2 + max(i, j)) % num_buckets
            total = total + weights["embedding.weight"][h] * x_i * x_j
        return total

    return by_row(logit)


@pytest.mark.parametrize("num_buckets", [1, 7, 1000])
def test_the_equation(num_buckets):
    x, values = random_input(6)
    assert_equals_loops(randomize(create(num_buckets)), equation(num_buckets), x, values)
    assert_equals_loops(randomize(create(num_buckets), 1), equation(num_buckets), x)


def test_with_room_for_all_no_two_pairs_share_a_bucket():
    i, j = torch.triu_indices(300, 300, offset=1)
    buckets = bucket(i, j, 10**6)
    assert len(buckets.unique()) == len(buckets)
    assert torch.equal(buckets, bucket(j, i, 10**6))


def test_the_hash_is_fixed_in_range_and_even():
    generator = torch.Generator().manual_seed(0)
    i = torch.randint(0, 45_000, (200_000,), generator=generator)
    j = torch.randint(45_000, 90_445, (200_000,), generator=generator)
    buckets = bucket(i, j, 1000)
    assert torch.equal(buckets, bucket(i, j, 1000))
    assert bucket(torch.tensor([3]), torch.tensor([5]), 10**7).item() == 8 * 9 // 2 + 5
    counts = torch.bincount(buckets, minlength=1000)
    assert len(counts) == 1000
    assert counts.min() > 100
    assert counts.max() < 300  # the average is 200


def test_ids_of_32_bits_do_not_overflow():
    i, j = torch.tensor([1_000_000_000]), torch.tensor([2_000_000_000])
    expected = (3_000_000_000 * 3_000_000_001 // 2 + 2_000_000_000) % 999_983
    assert bucket(i, j, 999_983).item() == bucket(i.int(), j.int(), 999_983).item() == expected


def test_the_order_of_the_columns_does_not_matter():
    model, (x, values) = randomize(create()), random_input()
    order = [2, 0, 3, 1]
    torch.testing.assert_close(model(Batch(x[:, order], values[:, order])), model(Batch(x, values)))


def test_it_starts_at_zero():
    x, values = random_input()
    assert torch.equal(create()(Batch(x, values)), torch.zeros(4, dtype=torch.float64))


def test_the_number_of_parameters():
    with torch.device("meta"):
        model = registry.create("poly2", (957, 4425), {})
    assert sum(p.numel() for p in model.parameters()) == 10_000_000 + 5382 + 1


def test_buckets_are_counted_from_one():
    with pytest.raises(ValueError, match="poly2: num_buckets must be positive, got 0"):
        create(0)
