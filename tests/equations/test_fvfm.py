from itertools import combinations

import torch
from reference import (
    FIELD_DIMS,
    FRAPPE_X1,
    assert_equals_loops,
    by_row,
    embedded,
    linear_terms,
    num_params,
    random_input,
    randomize,
)

from models import registry
from models.layers.batch import Batch


def create(**settings):
    return registry.create("fvfm", FIELD_DIMS, {"embed_dim": 3, **settings})


def equation(weights, ids, values):
    # w_0 + Σ_i w_i x_i + Σ_{i<j} ⟨V_i ⊙ F_{f_i f_j}, V_j⟩ x_i x_j
    total, V = linear_terms(weights, ids, values), embedded(weights, ids, values)
    for F, (first, second) in zip(weights["field_aspect.F"], combinations(V, 2), strict=True):
        total = total + sum(a * f * b for a, f, b in zip(first, F, second, strict=True))
    return total


def test_the_equation():
    model, (x, values) = randomize(create()), random_input()
    assert_equals_loops(model, by_row(equation), x, values)
    assert_equals_loops(model, by_row(equation), x)


def test_with_ones_it_is_an_fm_and_without_attention_ifm_full_is_this_model_over_the_number_of_pairs():
    fvfm, fm = randomize(create()), randomize(registry.create("fm", FIELD_DIMS, {"embed_dim": 3}))
    full = randomize(registry.create("ifm_full", FIELD_DIMS, {"embed_dim": 3, "attention_dim": 2}))
    x, values = random_input()
    full.load_state_dict(fvfm.state_dict(), strict=False)
    torch.nn.init.zeros_(full.attention.h)
    linear = fvfm.linear(Batch(x, values))
    pairs = fvfm(Batch(x, values)) - linear
    torch.testing.assert_close(full(Batch(x, values)), linear + pairs / 6, rtol=1e-9, atol=1e-9)
    fvfm.load_state_dict(fm.state_dict(), strict=False)
    torch.nn.init.ones_(fvfm.field_aspect.F)
    torch.testing.assert_close(fvfm(Batch(x, values)), fm(Batch(x, values)), rtol=1e-9, atol=1e-9)


def test_dropout_takes_from_the_interactions_only():
    model, (x, values) = randomize(create(dropout=1.0)), random_input()
    torch.testing.assert_close(model.train()(Batch(x, values)), model.linear(Batch(x, values)))


def test_as_many_parameters_as_published():
    assert num_params("fvfm", FRAPPE_X1) == 59_730
