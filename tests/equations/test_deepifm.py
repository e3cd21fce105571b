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
    return registry.create("deepifm", FIELD_DIMS, {**SIZES, "hidden_dims": [4], **settings})


def equation(temperature=10.0, placement="logits"):
    # w_0 + Σ_i w_i x_i + Σ_{i<j} T_ij (U_i ⊙ U_j)ᵀ D (V_i ⊙ V_j) x_i x_j + MLP([V_1 x_1 … V_n x_n])

    def logit(weights, ids, values):
        vectors = embedded(weights, ids, values)
        products, F = products_of(vectors), field_aspect(weights)
        total = linear_terms(weights, ids, values)
        for t, f, product in zip(
            attention(weights, products, temperature, placement, there=are_interactions(values)),
            F,
            products,
            strict=True,
        ):
            total = total + t * sum(a * b for a, b in zip(f, product, strict=True))
        return total + relu_network(weights, [v for vector in vectors for v in vector])

    return by_row(logit)


@pytest.mark.parametrize(("temperature", "placement"), [(0.5, "logits"), (10.0, "logits"), (2.0, "hidden")])
@pytest.mark.parametrize("zeros", [False, True])
def test_the_equation(temperature, placement, zeros):
    model = randomize(create(temperature=temperature, temperature_placement=placement))
    assert_equals_loops(model, equation(temperature, placement), *random_input(zeros=zeros))


@pytest.mark.parametrize("hidden_dims", [[], [2, 3], [4, 3, 2]])
def test_the_equation_with_other_layers_and_without_values(hidden_dims):
    model = randomize(create(hidden_dims=hidden_dims, mlp_dropout=0.0))
    assert_equals_loops(model, equation(), random_input()[0])


def test_without_its_mlp_it_is_ifm():
    model = randomize(create())
    ifm = registry.create("ifm", FIELD_DIMS, SIZES).double().eval()
    ifm.load_state_dict({key: value for key, value in model.state_dict().items() if not key.startswith("mlp")})
    x, values = random_input(8)
    deep = model.mlp(model.embedding(Batch(x, values)).flatten(1)).squeeze(-1)
    torch.testing.assert_close(model(Batch(x, values)) - deep, ifm(Batch(x, values)), rtol=1e-9, atol=1e-9)


def test_the_two_dropouts_are_apart():
    x, values = random_input()
    model = randomize(create(dropout=1.0, mlp_dropout=0.0)).train()
    deep = model.mlp(model.embedding(Batch(x, values)).flatten(1)).squeeze(-1)
    torch.testing.assert_close(model(Batch(x, values)), model.linear(Batch(x, values)) + deep)
    model = randomize(create(dropout=0.0, mlp_dropout=1.0)).train()
    ifm = registry.create("ifm", FIELD_DIMS, SIZES).double().eval()
    ifm.load_state_dict({key: value for key, value in model.state_dict().items() if not key.startswith("mlp")})
    torch.testing.assert_close(model(Batch(x, values)), ifm(Batch(x, values)) + model.mlp[-1].bias)
