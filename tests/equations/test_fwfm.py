from itertools import combinations

import pytest
import torch
from reference import (
    FIELD_DIMS,
    FRAPPE_X1,
    assert_equals_loops,
    by_row,
    concatenated,
    dense,
    dot,
    embedded,
    linear_terms,
    num_params,
    random_input,
    randomize,
)

from models import registry
from models.layers.batch import Batch


def create(**settings):
    return registry.create("fwfm", FIELD_DIMS, {"embed_dim": 3, **settings})


def equation(linear_part):
    # linear part + Σ_{i<j} r_{f_i f_j} ⟨V_i, V_j⟩ x_i x_j

    def logit(weights, ids, values):
        V = embedded(weights, ids, values)
        if linear_part == "LW":
            total = linear_terms(weights, ids, values)
        elif linear_part == "FeLV":
            total = weights["w_0"] + sum(dot(v, weights["w_i.weight"][i]) for i, v in zip(ids, V, strict=True))
        else:
            (total,) = dense(weights, "w_f", concatenated(weights, ids, values))
        for r, (first, second) in zip(weights["r"], combinations(V, 2), strict=True):
            total = total + r * dot(first, second)
        return total

    return by_row(logit)


@pytest.mark.parametrize("linear_part", ["LW", "FeLV", "FiLV"])
def test_the_equation(linear_part):
    model = randomize(create(linear_part=linear_part))
    x, values = random_input()
    assert_equals_loops(model, equation(linear_part), x, values)
    assert_equals_loops(model, equation(linear_part), x)


def test_with_equal_weights_for_all_pairs_it_is_an_fm():
    fwfm, fm = randomize(create(linear_part="LW")), randomize(registry.create("fm", FIELD_DIMS, {"embed_dim": 3}))
    torch.nn.init.ones_(fwfm.r)
    x, values = random_input()
    fwfm.load_state_dict(fm.state_dict(), strict=False)
    torch.testing.assert_close(fwfm(Batch(x, values)), fm(Batch(x, values)), rtol=1e-9, atol=1e-9)


def test_dropout_takes_from_the_interactions_only():
    model, (x, values) = randomize(create(linear_part="LW", dropout=1.0)), random_input()
    torch.testing.assert_close(model.train()(Batch(x, values)), model.linear(Batch(x, values)))


def test_as_many_parameters_as_published():
    m, P = sum(FRAPPE_X1), 45
    assert num_params("fwfm", FRAPPE_X1, linear_part="FeLV") == 107_826
    assert num_params("fwfm", FRAPPE_X1, linear_part="FiLV") == m * 10 + 10 * 10 + P + 1
    assert num_params("fwfm", FRAPPE_X1, linear_part="LW") == m * 10 + m + P + 1
