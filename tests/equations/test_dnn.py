import pytest
from reference import (
    FIELD_DIMS,
    FRAPPE_X1,
    assert_equals_loops,
    by_row,
    concatenated,
    num_params,
    random_input,
    randomize,
    relu_network,
)

from models import registry


def equation(weights, ids, values):
    # MLP([V_1 x_1 … V_n x_n])
    return relu_network(weights, concatenated(weights, ids, values))


@pytest.mark.parametrize("hidden_dims", [[], [3], [4, 3]])
def test_the_equation(hidden_dims):
    sizes = {"embed_dim": 2, "hidden_dims": hidden_dims, "batch_norm": False}
    model = randomize(registry.create("dnn", FIELD_DIMS, sizes))
    x, values = random_input(3)
    assert_equals_loops(model, by_row(equation), x, values)
    assert_equals_loops(model, by_row(equation), x)


def test_as_many_parameters_as_its_benchmark_counts():
    assert num_params("dnn", FRAPPE_X1) == 417_891  # as DLRM on Frappe, which there is this model
    assert num_params("dnn", FRAPPE_X1) * 2 - 10 * sum(FRAPPE_X1) == 781_892  # the log of DNN has its MLP twice
