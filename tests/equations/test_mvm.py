from itertools import chain, combinations

import pytest
import torch
from reference import FIELD_DIMS, assert_equals_loops, by_row, random_input, randomize

from models import registry
from models.layers.batch import Batch

K = 3


def create(field_dims=FIELD_DIMS, **settings):
    return registry.create("mvm", field_dims, {"embed_dim": K, **settings})


def equation(weights, ids, values):
    # Σ_k Π_f (V_{i_f,k} x_{i_f} + b_{f,k}), multiplied out: one term for each subset of the fields
    V, b, fields = weights["embedding.weight"], weights["bias"], range(len(ids))
    total = 0.0
    for chosen in chain.from_iterable(combinations(fields, order) for order in range(len(ids) + 1)):
        for k in range(K):
            term = 1.0
            for f in fields:
                term = term * (V[ids[f], k] * values[f] if f in chosen else b[f, k])
            total = total + term
    return total


def test_the_equation():
    x, values = random_input()
    assert_equals_loops(randomize(create()), by_row(equation), x, values)
    assert_equals_loops(randomize(create(), 1), by_row(equation), x)


def test_of_two_fields_it_is_matrix_factorisation_with_biases_that_are_factors():
    model = randomize(create((3, 4)))
    x, values = random_input(field_dims=(3, 4))
    V, b = model.embedding(Batch(x, values)), model.bias
    expected = (b[0] * b[1]).sum() + V[:, 0] @ b[1] + V[:, 1] @ b[0] + (V[:, 0] * V[:, 1]).sum(-1)
    torch.testing.assert_close(model(Batch(x, values)), expected, rtol=1e-9, atol=1e-9)


def test_dropout_takes_whole_products():
    model, (x, values) = randomize(create(dropout=1.0)), random_input()
    assert not model.train()(Batch(x, values)).any()


@pytest.mark.parametrize("num_fields", [2, 3, 10, 40])
def test_it_starts_near_zero_with_gradients_that_are_not(num_fields):
    torch.manual_seed(0)
    field_dims = (20,) * num_fields
    model = create(field_dims, embed_dim=256)
    x, _ = random_input(64, field_dims)
    logits = model(Batch(x))
    assert logits.abs().max() < 0.5
    logits.sum().backward()
    assert model.embedding.weight.grad[x.unique()].abs().median() > 1e-3
    assert abs(model.embedding.weight.std() - 0.01) < 5e-4
    torch.testing.assert_close(model.bias.abs(), torch.full((num_fields, 256), 256 ** (-1 / num_fields)))
    assert abs(model.bias.sign().mean()) < 0.2


def test_the_number_of_parameters():
    with torch.device("meta"):
        model = registry.create("mvm", (957, 4082, 343), {})
    assert sum(p.numel() for p in model.parameters()) == (5382 + 3) * 256
