from itertools import combinations

import pytest
import torch
from reference import FIELD_DIMS, assert_equals_loops, by_row, linear_terms, random_input, randomize

from models import registry
from models.layers.batch import Batch

FRAPPE = (957, 4082, 7, 7, 2, 3, 2, 9, 80, 233)
MOVIELENS = (17045, 23743, 49657)
K = 3


def create(**settings):
    return registry.create("ffm", FIELD_DIMS, {"embed_dim": K, **settings})


def equation(weights, ids, values):
    # w_0 + Σ_i w_i x_i + Σ_{i<j} ⟨V_{i,f_j}, V_{j,f_i}⟩ x_i x_j; a row of V has one feature's vectors for all fields
    total, V = linear_terms(weights, ids, values), weights["embedding.weight"]
    for f, g in combinations(range(len(ids)), 2):
        for k in range(K):
            total = total + V[ids[f], g * K + k] * V[ids[g], f * K + k] * values[f] * values[g]
    return total


def test_the_equation():
    x, values = random_input()
    assert_equals_loops(randomize(create()), by_row(equation), x, values)
    assert_equals_loops(randomize(create(), 1), by_row(equation), x)


def test_with_equal_vectors_for_all_fields_it_is_an_fm():
    ffm, fm = randomize(create()), randomize(registry.create("fm", FIELD_DIMS, {"embed_dim": K}))
    ffm.linear.load_state_dict(fm.linear.state_dict())
    ffm.embedding.weight.data = fm.embedding.weight.data.repeat(1, len(FIELD_DIMS))
    x, values = random_input()
    torch.testing.assert_close(ffm(Batch(x, values)), fm(Batch(x, values)), rtol=1e-9, atol=1e-9)


def test_dropout_takes_from_the_interactions_only():
    model, (x, values) = randomize(create(dropout=1.0)), random_input()
    torch.testing.assert_close(model.train()(Batch(x, values)), model.linear(Batch(x, values)))


def test_it_starts_at_small_vectors_and_no_weights():
    model = registry.create("ffm", (40, 50, 30), {"embed_dim": 256})
    assert abs(model.embedding.weight.mean()) < 2e-4
    assert abs(model.embedding.weight.std() - 0.01) < 2e-4
    assert not model.linear.weight.any()


@pytest.mark.parametrize(("field_dims", "expected"), [(FRAPPE, 13_783_303), (MOVIELENS, 69_552_206)])
def test_as_many_parameters_as_in_the_paper(field_dims, expected):
    with torch.device("meta"):
        model = registry.create("ffm", field_dims, {})
    m, n = sum(field_dims), len(field_dims)
    assert sum(p.numel() for p in model.parameters()) == m * n * 256 + m + 1 == expected
