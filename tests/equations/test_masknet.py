import pytest
from reference import (
    FIELD_DIMS,
    FRAPPE_X1,
    assert_all_reached,
    assert_equals_loops,
    awake,
    by_row,
    concatenated,
    dense,
    embedded,
    layer_norm,
    num_params,
    random_input,
    randomize,
    relu,
    relu_network,
)

from models import registry


def create(**settings):
    sizes = {"embed_dim": 3, "num_blocks": 2, "block_dim": 3, "reduction_ratio": 0.5, "hidden_dims": [3, 2]}
    return registry.create("masknet", FIELD_DIMS, {**sizes, **settings})


def block(weights, number, e, v):
    # relu(LN(W (m(e) ⊙ v))), m(e) = W_2 relu(W_1 e + b_1) + b_2
    name = f"blocks.{number}"
    mask = dense(weights, f"{name}.mask.2", relu(dense(weights, f"{name}.mask.0", e)))
    units = dense(weights, f"{name}.W", [m * a for m, a in zip(mask, v, strict=True)])
    return relu(layer_norm(units, weights[f"{name}.norm.weight"], weights[f"{name}.norm.bias"]))


def equation(structure):
    def logit(weights, ids, values):
        e = concatenated(weights, ids, values)
        v = []
        for vector, gain, shift in zip(embedded(weights, ids, values), weights["gain"], weights["shift"], strict=True):
            v += layer_norm(vector, gain, shift)
        if structure == "parallel":
            return relu_network(weights, block(weights, 0, e, v) + block(weights, 1, e, v))
        for number in range(2):
            v = block(weights, number, e, v)
        return dense(weights, "mlp.0", v)[0]

    return by_row(logit)


@pytest.mark.parametrize("structure", ["parallel", "serial"])
def test_the_equation(structure):
    model, (x, values) = awake(randomize(create(structure=structure)), 1.0), random_input(2)
    assert_equals_loops(model, equation(structure), x, values)
    assert_all_reached(model)


def test_as_many_parameters_as_published():
    assert num_params("masknet", FRAPPE_X1) == 571_691 + 2 * 100  # that one does not normalise its embeddings


@pytest.mark.parametrize("name", ["num_blocks", "block_dim", "reduction_ratio"])
def test_an_empty_part_is_an_error(name):
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        create(**{name: 0})
