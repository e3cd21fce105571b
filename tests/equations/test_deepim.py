from itertools import combinations

import pytest
from reference import (
    FIELD_DIMS,
    FRAPPE_X1,
    assert_equals_loops,
    by_row,
    dense,
    embedded,
    num_params,
    random_input,
    randomize,
    relu_network,
)

from models import registry


def create(**settings):
    return registry.create("deepim", FIELD_DIMS, {"embed_dim": 2, "hidden_dims": [3], "batch_norm": False, **settings})


def equation(order):
    # wᵀ [E_1 … E_p] + b + MLP([V_1 x_1 …]), E_d = Σ of the products of d vectors

    def row(weights, ids, values):
        V = embedded(weights, ids, values)
        pooled = []
        for d in range(1, order + 1):
            for k in range(2):
                total = V[0][k] * 0
                for chosen in combinations(V, d):
                    product = 1
                    for v in chosen:
                        product = product * v[k]
                    total = total + product
                pooled.append(total)
        (y,) = dense(weights, "w", pooled)
        return y + relu_network(weights, [number for v in V for number in v])

    return row


@pytest.mark.parametrize("order", [1, 3, 4])
def test_the_equation(order):
    assert_equals_loops(randomize(create(order=order)), by_row(equation(order)), *random_input(2))


def test_as_many_parameters_as_published():
    assert num_params("deepim", FRAPPE_X1) == 417_922


def test_an_order_above_five_is_an_error():
    with pytest.raises(ValueError, match="order must be between 1 and 5, got 6"):
        create(order=6)
