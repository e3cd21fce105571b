import pytest
import torch
from reference import (
    FIELD_DIMS,
    are_interactions,
    assert_equals_loops,
    attention,
    by_row,
    embedded,
    linear_terms,
    products_of,
    random_input,
    randomize,
)

from models import registry
from models.layers.batch import Batch

SIZES = {"embed_dim": 3, "attention_dim": 2}


def create(**settings):
    return registry.create("fa_ifm", FIELD_DIMS, {**SIZES, **settings})


def equation(temperature=10.0, placement="logits"):
    # w_0 + Σ_i w_i x_i + Σ_{i<j} T_ij ⟨1, V_i ⊙ V_j⟩ x_i x_j

    def logit(weights, ids, values):
        products = products_of(embedded(weights, ids, values))
        total = linear_terms(weights, ids, values)
        for t, product in zip(
            attention(weights, products, temperature, placement, there=are_interactions(values)), products, strict=True
        ):
            total = total + t * sum(product)
        return total

    return by_row(logit)


@pytest.mark.parametrize(("temperature", "placement"), [(0.5, "logits"), (10.0, "logits"), (2.0, "hidden")])
@pytest.mark.parametrize("zeros", [False, True])
def test_the_equation(temperature, placement, zeros):
    model = randomize(create(temperature=temperature, temperature_placement=placement))
    assert_equals_loops(model, equation(temperature, placement), *random_input(zeros=zeros))


def test_the_equation_without_values_is_that_of_ones():
    assert_equals_loops(randomize(create()), equation(), random_input()[0])


def test_it_is_ifm_with_a_field_aspect_of_ones():
    ifm = randomize(registry.create("ifm", FIELD_DIMS, {**SIZES, "field_embed_dim": 2}))
    torch.nn.init.ones_(ifm.field_aspect.U)
    torch.nn.init.constant_(ifm.field_aspect.D, 1 / 2)  # K_F is 2: F is all ones
    model = create().double().eval()
    model.load_state_dict({key: value for key, value in ifm.state_dict().items() if "field_aspect" not in key})
    x, values = random_input(8)
    torch.testing.assert_close(model(Batch(x, values)), ifm(Batch(x, values)), rtol=1e-9, atol=1e-9)


def test_dropout_takes_all_interactions_or_none():
    model = randomize(create(dropout=1.0)).train()
    x, values = random_input()
    torch.testing.assert_close(model(Batch(x, values)), model.linear(Batch(x, values)))
