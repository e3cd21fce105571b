from reference import (
    FIELD_DIMS,
    assert_equals_loops,
    by_row,
    embedded,
    num_params,
    random_input,
    randomize,
    relu_network,
)

from models import registry

TF4CTR_FRAPPE = (942, 4084, 9, 9, 4, 5, 4, 11, 82, 233)  # its code leaves out values that occur once


def equation(weights, ids, values):
    # MLP_1([V¹_1 x_1 … V¹_n x_n]) + MLP_2([V²_1 x_1 … V²_n x_n])
    logit = 0
    for stream in range(2):
        vectors = embedded(weights, ids, values, f"embedding.{stream}")
        logit = logit + relu_network(weights, [number for vector in vectors for number in vector], f"mlp.{stream}.")
    return logit


def test_the_equation():
    sizes = {"embed_dim": 3, "hidden_dims": [4, 3], "embed_dim_2": 2, "hidden_dims_2": [5], "batch_norm": False}
    model = randomize(registry.create("dual_mlp", FIELD_DIMS, sizes))
    x, values = random_input(2)
    assert_equals_loops(model, by_row(equation), x, values)
    assert_equals_loops(model, by_row(equation), x)


def test_as_many_parameters_as_in_its_log():
    assert num_params("dual_mlp", TF4CTR_FRAPPE) == 711_996 - 2  # its code weighs the two logits
