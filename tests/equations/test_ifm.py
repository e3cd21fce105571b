import pytest
import torch
from reference import (
    FIELD_DIMS,
    are_interactions,
    assert_equals_loops,
    attention,
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

FRAPPE = (957, 4082, 7, 7, 2, 3, 2, 9, 80, 233)
MOVIELENS = (17045, 23743, 49657)
SIZES = {"embed_dim": 3, "attention_dim": 2, "field_embed_dim": 2}


def create(**settings):
    return registry.create("ifm", FIELD_DIMS, {**SIZES, **settings})


def equation(temperature, placement="logits"):
    # w_0 + Σ_i w_i x_i + Σ_{i<j} T_ij (U_i ⊙ U_j)ᵀ D (V_i ⊙ V_j) x_i x_j

    def logit(weights, ids, values):
        products = products_of(embedded(weights, ids, values))
        total = linear_terms(weights, ids, values)
        T, F = (
            attention(weights, products, temperature, placement, there=are_interactions(values)),
            field_aspect(weights),
        )
        for t, f, product in zip(T, F, products, strict=True):
            total = total + t * sum(a * b for a, b in zip(f, product, strict=True))
        return total

    return by_row(logit)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 10.0])
@pytest.mark.parametrize("placement", ["logits", "hidden"])
@pytest.mark.parametrize("zeros", [False, True])
def test_the_equation(temperature, placement, zeros):
    model = randomize(create(temperature=temperature, temperature_placement=placement))
    assert_equals_loops(model, equation(temperature, placement), *random_input(zeros=zeros))


def test_the_equation_without_values_is_that_of_ones():
    assert_equals_loops(randomize(create()), equation(10.0), random_input()[0])


def test_with_even_attention_and_equal_fields_it_is_an_fm_divided_by_the_number_of_pairs():
    ifm = randomize(create(temperature=1e12))
    fm = randomize(registry.create("fm", FIELD_DIMS, {"embed_dim": 3}))
    fm.load_state_dict({key: value for key, value in ifm.state_dict().items() if key in fm.state_dict()})
    torch.nn.init.ones_(ifm.field_aspect.U)
    torch.nn.init.constant_(ifm.field_aspect.D, 1 / 2)  # K_F is 2: F is all ones
    x, values = random_input(8)
    linear = fm.linear(Batch(x, values))
    expected = linear + (fm(Batch(x, values)) - linear) / 6
    torch.testing.assert_close(ifm(Batch(x, values)), expected, rtol=1e-9, atol=1e-9)


def test_dropout_takes_all_interactions_or_none():
    model = randomize(create(dropout=1.0))
    x, values = random_input()
    whole = model(Batch(x, values))
    torch.testing.assert_close(model.train()(Batch(x, values)), model.linear(Batch(x, values)))
    assert (whole - model.linear(Batch(x, values))).abs().min() > 1e-3


def test_the_attention_sees_the_interactions_before_dropout():
    model, seen = randomize(create(dropout=1.0, temperature=1.0)), []
    model.attention.register_forward_hook(lambda module, inputs, T: seen.append(T))
    x, values = random_input()
    model(Batch(x, values))
    model.train()(Batch(x, values))
    assert torch.equal(*seen)
    assert seen[0].std() > 0.01


@pytest.mark.parametrize(
    ("field_dims", "attention_dim", "field_embed_dim", "expected"),
    [(FRAPPE, 256, 26, 1_456_139), (MOVIELENS, 8, 16, 23_250_574)],
)
def test_as_many_parameters_as_in_the_paper(field_dims, attention_dim, field_embed_dim, expected):
    sizes = {"embed_dim": 256, "attention_dim": attention_dim, "field_embed_dim": field_embed_dim}
    with torch.device("meta"):
        model = registry.create("ifm", field_dims, sizes)
    m, n = sum(field_dims), len(field_dims)
    formula = m * 256 + m + 1 + 256 * attention_dim + 2 * attention_dim + n * field_embed_dim + field_embed_dim * 256
    assert sum(p.numel() for p in model.parameters()) == formula == expected
