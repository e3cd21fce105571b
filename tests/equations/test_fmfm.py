from itertools import combinations

import torch
from reference import (
    FIELD_DIMS,
    FRAPPE_X1,
    assert_equals_loops,
    by_row,
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
    return registry.create("fmfm", FIELD_DIMS, {"embed_dim": 3, **settings})


def equation(weights, ids, values):
    # w_0 + Σ_i w_i x_i + Σ_{i<j} ⟨V_i M_{f_i f_j}, V_j⟩ x_i x_j
    total, V = linear_terms(weights, ids, values), embedded(weights, ids, values)
    for M, (first, second) in zip(weights["M"], combinations(V, 2), strict=True):
        total = total + sum(v * dot(row, second) for v, row in zip(first, M, strict=True))
    return total


def test_the_equation():
    model, (x, values) = randomize(create()), random_input()
    assert_equals_loops(model, by_row(equation), x, values)
    assert_equals_loops(model, by_row(equation), x)


def test_with_diagonal_matrices_it_is_fvfm():
    fmfm, fvfm = randomize(create()), randomize(registry.create("fvfm", FIELD_DIMS, {"embed_dim": 3}))
    fmfm.load_state_dict(fvfm.state_dict(), strict=False)
    fmfm.M.data = torch.diag_embed(fvfm.field_aspect.F.data)
    x, values = random_input()
    torch.testing.assert_close(fmfm(Batch(x, values)), fvfm(Batch(x, values)), rtol=1e-9, atol=1e-9)


def test_dropout_takes_from_the_interactions_only():
    model, (x, values) = randomize(create(dropout=1.0)), random_input()
    torch.testing.assert_close(model.train()(Batch(x, values)), model.linear(Batch(x, values)))


def test_as_many_parameters_as_its_equation_has():
    m = sum(FRAPPE_X1)
    assert num_params("fmfm", FRAPPE_X1) == m * 10 + m + 1 + 45 * 10 * 10
