from itertools import combinations

import pytest
import torch
from reference import (
    FIELD_DIMS,
    assert_equals_loops,
    by_row,
    embedded,
    linear_terms,
    random_input,
    randomize,
    relu_network,
)

from models import registry
from models.layers.batch import Batch

FRAPPE = (957, 4082, 7, 7, 2, 3, 2, 9, 80, 233)
MOVIELENS = (17045, 23743, 49657)


def create(**settings):
    return registry.create("deepfm", FIELD_DIMS, {"embed_dim": 3, "hidden_dims": [4], **settings})


def equation(weights, ids, values):
    # w_0 + Σ_i w_i x_i + Σ_{i<j} ⟨V_i, V_j⟩ x_i x_j + MLP([V_1 x_1 … V_n x_n])
    vectors = embedded(weights, ids, values)
    total = linear_terms(weights, ids, values)
    for first, second in combinations(vectors, 2):
        total = total + sum(a * b for a, b in zip(first, second, strict=True))
    return total + relu_network(weights, [v for vector in vectors for v in vector])


@pytest.mark.parametrize("hidden_dims", [[], [4], [4, 3, 2]])
def test_the_equation(hidden_dims):
    x, values = random_input()
    for mlp_dropout in (0.0, 0.5):  # the number of a layer depends on it
        model = randomize(create(hidden_dims=hidden_dims, mlp_dropout=mlp_dropout))
        assert_equals_loops(model, by_row(equation), x, values)
    assert_equals_loops(model, by_row(equation), x)


def fm_of(model):
    fm = registry.create("fm", FIELD_DIMS, {"embed_dim": 3}).double().eval()
    fm.load_state_dict({key: value for key, value in model.state_dict().items() if not key.startswith("mlp")})
    return fm


def test_without_its_mlp_it_is_an_fm():
    model = randomize(create())
    x, values = random_input(8)
    deep = model.mlp(model.embedding(Batch(x, values)).flatten(1)).squeeze(-1)
    torch.testing.assert_close(model(Batch(x, values)) - deep, fm_of(model)(Batch(x, values)), rtol=1e-9, atol=1e-9)


def test_the_two_dropouts_are_apart():
    x, values = random_input()
    model = randomize(create(dropout=1.0, mlp_dropout=0.0)).train()
    deep = model.mlp(model.embedding(Batch(x, values)).flatten(1)).squeeze(-1)
    torch.testing.assert_close(model(Batch(x, values)), model.linear(Batch(x, values)) + deep)
    model = randomize(create(dropout=0.0, mlp_dropout=1.0)).train()
    torch.testing.assert_close(model(Batch(x, values)), fm_of(model)(Batch(x, values)) + model.mlp[-1].bias)


@pytest.mark.parametrize(("field_dims", "expected"), [(FRAPPE, 1_639_376), (MOVIELENS, 23_321_367)])
def test_as_many_parameters_as_in_the_ifm_paper(field_dims, expected):
    with torch.device("meta"):
        model = registry.create("deepfm", field_dims, {})
    m, n = sum(field_dims), len(field_dims)
    formula = m * 256 + m + 1 + n * 256 * 100 + 100 + 101
    assert sum(p.numel() for p in model.parameters()) == formula == expected


def test_the_start():
    torch.manual_seed(0)
    model = registry.create("deepfm", FRAPPE, {"embed_dim": 16})
    assert abs(model.embedding.weight.mean()) < 1e-4
    assert abs(model.embedding.weight.std() / 0.01 - 1) < 0.02
    assert not model.linear.weight.any()
    assert not model.linear.bias
