import pytest
import torch
from reference import FIELD_DIMS, assert_equals_loops, by_row, embedded, random_input, randomize, relu_network

from models import registry
from models.layers.batch import Batch
from models.layers.products import InnerProducts

SIZES = {"embed_dim": 3, "hidden_dims": [4, 3]}


def create(**settings):
    return registry.create("ipnn", FIELD_DIMS, {**SIZES, **settings})


def inner(weights, vectors, unit):
    # W_p ⊙ p of one unit of l_1: Σ_i Σ_j θ_i θ_j ⟨f_i, f_j⟩
    theta, total = weights["inner.theta"], 0
    for i, first in enumerate(vectors):
        for j, second in enumerate(vectors):
            total += theta[i, unit] * theta[j, unit] * sum(a * b for a, b in zip(first, second, strict=True))
    return total


def equation(weights, ids, values):
    # MLP(relu(l_z + l_p + b_1)), unit after unit of l_1
    f = embedded(weights, ids, values)
    z, W_z, b_1 = [v for vector in f for v in vector], weights["l_z.weight"], weights["l_z.bias"]
    l_1 = []
    for unit in range(len(b_1)):
        l_z = sum(W_z[unit, k] * z[k] for k in range(len(z)))
        l_p = inner(weights, f, unit)
        l_1.append((l_z + l_p + b_1[unit]).clamp(min=0))
    return relu_network(weights, l_1)


@pytest.mark.parametrize("hidden_dims", [[4], [4, 3], [4, 3, 2]])
def test_the_equation(hidden_dims):
    x, values = random_input()
    for mlp_dropout in (0.0, 0.5):
        model = randomize(create(hidden_dims=hidden_dims, mlp_dropout=mlp_dropout))
        assert_equals_loops(model, by_row(equation), x, values)
    assert_equals_loops(model, by_row(equation), x)


def test_its_products_are_the_squared_norms_of_the_weighted_sums():
    layer = randomize(InnerProducts(4, 3))
    f = torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sums = torch.stack([sum(layer.theta[i, d] * f[:, i] for i in range(4)) for d in range(3)], 1)  # [rows, D_1, K]
    torch.testing.assert_close(layer(f), sums.square().sum(-1), rtol=1e-9, atol=1e-9)


def test_the_start():
    torch.manual_seed(0)
    theta = InnerProducts(40, 1000).theta
    assert abs(theta.mean()) < 5 * (2 / 1040 / 40_000) ** 0.5
    assert abs(theta.var() * 1040 / 2 - 1) < 0.05


@pytest.mark.parametrize("hidden_dims", [[4], [4, 3]])
def test_dropout_is_in_all_hidden_layers(hidden_dims):
    model = randomize(create(hidden_dims=hidden_dims, mlp_dropout=1.0)).train()
    x, values = random_input()
    torch.testing.assert_close(model(Batch(x, values)), model.mlp[-1].bias.expand(4))


def test_as_many_parameters_as_the_equation_has():
    model = registry.create("ipnn", FIELD_DIMS, {"embed_dim": 10})
    D_1 = 100
    layers = len(FIELD_DIMS) * 10 * D_1 + D_1 + 4 * D_1 + 2 * (100 * 100 + 100) + 100 + 1
    assert sum(p.numel() for p in model.parameters()) == sum(FIELD_DIMS) * 10 + layers


@pytest.mark.parametrize(
    ("hidden_dims", "name"), [([], "len_hidden_dims"), ([0], "hidden_dims"), ([3, 0], "hidden_dims")]
)
def test_an_empty_layer_is_an_error(hidden_dims, name):
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        create(hidden_dims=hidden_dims)
