import pytest
import torch
from reference import (
    FIELD_DIMS,
    FRAPPE_X1_PADDED,
    assert_equals_loops,
    by_row,
    concatenated,
    dense,
    embedded,
    halved,
    layers_of,
    num_params,
    random_input,
    randomize,
    relu,
)

from models import registry


def create(**settings):
    sizes = {"embed_dim": 2, "hidden_dims": [4, 3], "hidden_dims_2": [4], "batch_norm": False}
    return registry.create("finalnet", FIELD_DIMS, {**sizes, **settings})


def block(weights, name, x):
    # x_l = relu([h, h ⊙ g]), h and g the halves of W_l x_{l−1} + b_l; then one linear unit
    *layers, last = layers_of(weights, f"{name}.")
    for layer in layers:
        units = dense(weights, f"{name}.{layer}.linear", x)
        size = (len(units) + 1) // 2
        h, g = units[:size], units[size:]
        x = relu(h + [a * b for a, b in zip(h, g, strict=False)])
    return dense(weights, f"{name}.{last}", x)[0]


def equation(weights, ids, values):
    # ½ (y_a + y_b), where block a starts at [e, e'] with e'_ik = (Σ_j G_ij e_jk + c_i) e_ik
    V, e = embedded(weights, ids, values), concatenated(weights, ids, values)
    start = list(e)
    if "gate.weight" in weights:
        gates = [dense(weights, "gate", [v[k] for v in V]) for k in range(2)]  # for each k, one of each field
        start += [gates[k][i] * v[k] for i, v in enumerate(V) for k in range(2)]
    y_a = block(weights, "block_a", start)
    two = any(name.startswith("block_b.") for name in weights)
    return (y_a + block(weights, "block_b", e)) / 2 if two else y_a


@pytest.mark.parametrize("settings", [{}, {"two_blocks": False}, {"field_gate": False}])
def test_the_equation(settings):
    model, (x, values) = halved(randomize(create(**settings))), random_input(2)
    assert_equals_loops(model, by_row(equation), x, values)


def test_its_gates_start_at_one():
    model = create()
    assert not model.gate.weight.any()
    assert torch.equal(model.gate.bias, torch.ones(4))


def test_as_many_parameters_as_published():
    assert num_params("finalnet", FRAPPE_X1_PADDED) == 338_502
    assert num_params("finalnet", FRAPPE_X1_PADDED, two_blocks=False, field_gate=False) == 256_791


def test_an_empty_block_is_an_error():
    with pytest.raises(ValueError, match="len_hidden_dims must be positive, got 0"):
        create(hidden_dims_2=[])
