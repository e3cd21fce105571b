from itertools import combinations_with_replacement

import torch
from reference import (
    FIELD_DIMS,
    assert_all_reached,
    assert_equals_loops,
    by_row,
    dense,
    embedded,
    layers_of,
    num_params,
    random_input,
    randomize,
    relu,
)

from models import registry

LOG_FRAPPE = (942, 4084, 9, 9, 4, 5, 4, 11, 82, 233)  # its code leaves out values that occur once


def create(**settings):
    sizes = {"embed_dim": 2, "hidden_dims": [4, 3], "gate_hidden_dims": [3], "batch_norm": False}
    return registry.create("cetn", FIELD_DIMS, {**sizes, **settings})


def leaky_relu(units):
    return [unit if unit > 0 else 0.01 * unit for unit in units]


def mish(units):
    return [unit * (1 + unit.exp()).log().tanh() for unit in units]


def gelu(units):
    return [unit * (1 + (unit / 2**0.5).erf()) / 2 for unit in units]


def network(weights, prefix, inputs, activation):
    for layer in layers_of(weights, prefix):
        inputs = activation(dense(weights, f"{prefix}{layer}", inputs))
    return inputs


def row(weights, ids, values):
    # Σ_s g_s p_s(v_s + v_3), of products, of inner products, and of the embeddings themselves without a second v_3
    V = embedded(weights, ids, values)
    pairs = [[a * b for a, b in zip(*pair, strict=True)] for pair in combinations_with_replacement(V, 2)]
    flat = [[number for vector in vectors for number in vector] for vectors in (pairs, V)]
    s = (flat[0], [sum(pair) for pair in pairs], flat[1])
    v = [network(weights, f"v.{i}.", s[i], f) for i, f in enumerate((relu, mish, gelu))]
    v[0], v[1] = ([a + b for a, b in zip(each, v[2], strict=True)] for each in v[:2])
    total = torch.zeros((), dtype=torch.float64)
    for i in range(3):
        (g,) = network(weights, f"g.{i}.", s[i], leaky_relu)
        (logit,) = dense(weights, f"p.{i}", v[i])
        total = total + g * logit
    return total


def test_the_equation():
    model, (x, values) = randomize(create()), random_input()
    assert_equals_loops(model, by_row(row), x, values)
    assert_all_reached(model)
    assert_equals_loops(model, by_row(row), x)


def test_as_many_parameters_as_in_its_log():
    assert num_params("cetn", LOG_FRAPPE) == 1_684_866
