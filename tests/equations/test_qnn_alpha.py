import pytest
from reference import (
    FIELD_DIMS,
    assert_equals_loops,
    by_row,
    concatenated,
    dense,
    halved,
    num_params,
    random_input,
    randomize,
    relu,
)

from models import registry

ITS_FRAPPE = (942, 4084, 9, 9, 4, 5, 4, 11, 82, 233)  # its code leaves out values that occur once


def create(**settings):
    sizes = {"embed_dim": 2, "num_layers": 2, "num_rows": 2, "batch_norm": False}
    return registry.create("qnn_alpha", FIELD_DIMS, {**sizes, **settings})


def equation(weights, ids, values):
    # x_{l+1} = x_l ⊙ Σ_r relu(W_r x_l + b_r) + x_l, wᵀ x_L + b
    x = concatenated(weights, ids, values)
    for layer in range(2):
        units = relu(dense(weights, f"W.{layer}", x))
        x = [x[k] * sum(units[k :: len(x)]) + x[k] for k in range(len(x))]
    return dense(weights, "w", x)[0]


def test_the_equation():
    model, (x, values) = halved(randomize(create())), random_input(2)
    assert_equals_loops(model, by_row(equation), x, values)


def test_as_many_parameters_as_in_its_log():
    assert num_params("qnn_alpha", ITS_FRAPPE) == 764_369


@pytest.mark.parametrize("name", ["num_layers", "num_rows"])
def test_an_empty_part_is_an_error(name):
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        create(**{name: 0})
