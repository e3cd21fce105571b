from itertools import combinations

from reference import (
    FIELD_DIMS,
    FRAPPE_X1,
    assert_equals_loops,
    by_row,
    dot,
    embedded,
    num_params,
    random_input,
    randomize,
    relu_network,
)

from models import registry


def equation(weights, ids, values):
    # MLP([⟨V_1, V_2⟩ x_1 x_2, …])
    return relu_network(weights, [dot(a, b) for a, b in combinations(embedded(weights, ids, values), 2)])


def test_the_equation():
    model = randomize(registry.create("dlrm", FIELD_DIMS, {"embed_dim": 3, "hidden_dims": [4], "batch_norm": False}))
    x, values = random_input()
    assert_equals_loops(model, by_row(equation), x, values)
    assert_equals_loops(model, by_row(equation), x)


def test_as_many_parameters_as_the_published_one_with_products_instead_of_embeddings():
    assert num_params("dlrm", FRAPPE_X1, batch_norm=True) == 417_891 - (100 - 45) * 400
