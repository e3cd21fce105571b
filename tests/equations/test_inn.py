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
    relu_network,
)

from models import registry
from models.layers.batch import Batch

SIZES = {"embed_dim": 3, "attention_dim": 2, "field_embed_dim": 2}


def create(**settings):
    return registry.create("inn", FIELD_DIMS, {**SIZES, **settings})


def equation(temperature, placement="logits"):
    # w_0 + Σ_i w_i x_i + h_L, where h_0 is the concatenation of all I_ij ⊙ F_ij

    def logit(weights, ids, values):
        products = products_of(embedded(weights, ids, values))
        T, F = (
            attention(weights, products, temperature, placement, there=are_interactions(values)),
            field_aspect(weights),
        )
        h = [a * t * b for t, f, product in zip(T, F, products, strict=True) for a, b in zip(f, product, strict=True)]
        return linear_terms(weights, ids, values) + relu_network(weights, h)

    return by_row(logit)


@pytest.mark.parametrize("hidden_dims", [(), (5,), (4, 3)])
@pytest.mark.parametrize("zeros", [False, True])
def test_the_equation(hidden_dims, zeros):
    model = randomize(create(hidden_dims=hidden_dims, temperature=2.0))
    assert_equals_loops(model, equation(2.0), *random_input(zeros=zeros))


def test_the_equation_without_values_and_with_the_temperature_of_the_released_code():
    model = randomize(create(temperature_placement="hidden"))
    assert_equals_loops(model, equation(10.0, "hidden"), random_input()[0])


@pytest.mark.parametrize("placement", ["logits", "hidden"])
def test_with_a_layer_that_sums_it_is_an_ifm(placement):
    settings = {"temperature": 1.5, "temperature_placement": placement}
    inn = randomize(create(hidden_dims=(), **settings))
    ifm = randomize(registry.create("ifm", FIELD_DIMS, {**SIZES, **settings}))
    ifm.load_state_dict({key: value for key, value in inn.state_dict().items() if not key.startswith("mlp")})
    torch.nn.init.ones_(inn.mlp[0].weight)
    torch.nn.init.zeros_(inn.mlp[0].bias)
    x, values = random_input(8)
    torch.testing.assert_close(inn(Batch(x, values)), ifm(Batch(x, values)), rtol=1e-9, atol=1e-9)


def test_dropout_takes_from_the_interactions():
    model = randomize(create(dropout=1.0))
    x, values = random_input()
    whole, nothing = model(Batch(x, values)), model.mlp(torch.zeros(1, 18, dtype=torch.float64)).squeeze()
    torch.testing.assert_close(model.train()(Batch(x, values)), model.linear(Batch(x, values)) + nothing)
    assert (whole - model.linear(Batch(x, values)) - nothing).abs().max() > 1e-3


def test_the_attention_sees_the_interactions_before_dropout():
    model, seen = randomize(create(dropout=1.0, temperature=1.0)), []
    model.attention.register_forward_hook(lambda module, inputs, T: seen.append(T))
    x, values = random_input()
    model(Batch(x, values))
    model.train()(Batch(x, values))
    assert torch.equal(*seen)
    assert seen[0].std() > 0.01


def test_the_number_of_parameters():
    field_dims, K, K_a, K_F = (957, 4082, 7, 7, 2, 3, 2, 9, 80, 233), 256, 256, 26
    with torch.device("meta"):
        model = registry.create("inn", field_dims, {})
    ifm = 1_456_139
    assert sum(p.numel() for p in model.parameters()) == ifm + 45 * K * 5 + 5 + 5 + 1
    assert model.attention.W.shape == (K, K_a)
    assert model.field_aspect.D.shape == (K_F, K)
