import torch
from reference import (
    FIELD_DIMS,
    are_interactions,
    assert_equals_loops,
    by_row,
    embedded,
    field_aspect,
    linear_terms,
    products_of,
    random_input,
    randomize,
)

from models import registry
from models.layers.batch import Batch

SIZES = {"embed_dim": 3, "field_embed_dim": 2}


def create(**settings):
    return registry.create("ia_ifm", FIELD_DIMS, {**SIZES, **settings})


def equation(weights, ids, values):
    # w_0 + Σ_i w_i x_i + 1/P Σ_{i<j} (U_i ⊙ U_j)ᵀ D (V_i ⊙ V_j) x_i x_j over the P pairs with x_i x_j ≠ 0
    products = products_of(embedded(weights, ids, values))
    total = linear_terms(weights, ids, values)
    there = are_interactions(values)
    for f, product, is_there in zip(field_aspect(weights), products, there, strict=True):
        if is_there:
            total = total + sum(a * b for a, b in zip(f, product, strict=True)) / sum(there)
    return total


def test_the_equation():
    x, values = random_input()
    assert_equals_loops(randomize(create()), by_row(equation), x, values)
    assert_equals_loops(randomize(create(), 1), by_row(equation), x)
    assert_equals_loops(randomize(create()), by_row(equation), *random_input(zeros=True))


def test_it_is_the_limit_of_ifm_at_a_high_temperature():
    x, values = random_input(8)
    for placement in ("logits", "hidden"):
        settings = {"attention_dim": 2, "temperature": 1e12, "temperature_placement": placement}
        ifm = randomize(registry.create("ifm", FIELD_DIMS, {**SIZES, **settings}))
        model = create().double().eval()
        model.load_state_dict({key: value for key, value in ifm.state_dict().items() if "attention" not in key})
        torch.testing.assert_close(model(Batch(x, values)), ifm(Batch(x, values)), rtol=1e-9, atol=1e-9)


def test_dropout_takes_all_interactions_or_none():
    model = randomize(create(dropout=1.0)).train()
    x, values = random_input()
    torch.testing.assert_close(model(Batch(x, values)), model.linear(Batch(x, values)))
