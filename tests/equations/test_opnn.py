import pytest
import torch
from reference import FIELD_DIMS, assert_equals_loops, by_row, embedded, random_input, randomize, relu_network

from models import registry
from models.layers.batch import Batch
from models.layers.products import OuterProducts

SIZES = {"embed_dim": 3, "hidden_dims": [4, 3]}


def create(**settings):
    return registry.create("opnn", FIELD_DIMS, {**SIZES, **settings})


def outer(weights, vectors, unit):
    # W_p ⊙ p of one unit of l_1: Σ_k Σ_l W_kl p_kl with p = Σ_i Σ_j f_i f_jᵀ
    W_p, total = weights["outer.W_p"][unit], 0
    for first in vectors:
        for second in vectors:
            for k, a in enumerate(first):
                for l_, b in enumerate(second):
                    total += W_p[k, l_] * a * b
    return total


def equation(weights, ids, values):
    # MLP(relu(l_z + l_p + b_1)), unit after unit of l_1
    f = embedded(weights, ids, values)
    z, W_z, b_1 = [v for vector in f for v in vector], weights["l_z.weight"], weights["l_z.bias"]
    l_1 = []
    for unit in range(len(b_1)):
        l_z = sum(W_z[unit, k] * z[k] for k in range(len(z)))
        l_p = outer(weights, f, unit)
        l_1.append((l_z + l_p + b_1[unit]).clamp(min=0))
    return relu_network(weights, l_1)


@pytest.mark.parametrize("hidden_dims", [[4], [4, 3], [4, 3, 2]])
def test_the_equation(hidden_dims):
    x, values = random_input()
    for mlp_dropout in (0.0, 0.5):
        model = randomize(create(hidden_dims=hidden_dims, mlp_dropout=mlp_dropout))
        assert_equals_loops(model, by_row(equation), x, values)
    assert_equals_loops(model, by_row(equation), x)


def test_only_the_symmetric_part_of_its_weights_counts():
    layer = randomize(OuterProducts(6, 3))
    f = torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = layer(f)
    layer.W_p.data = (layer.W_p.data + layer.W_p.data.mT) / 2
    torch.testing.assert_close(layer(f), expected, rtol=1e-9, atol=1e-9)


def test_the_start():
    torch.manual_seed(0)
    W_p = OuterProducts(20, 100).W_p
    assert abs(W_p.mean()) < 5 * (2 / 500 / 40_000) ** 0.5
    assert abs(W_p.var() * 500 / 2 - 1) < 0.05


@pytest.mark.parametrize("hidden_dims", [[4], [4, 3]])
def test_dropout_is_in_all_hidden_layers(hidden_dims):
    model = randomize(create(hidden_dims=hidden_dims, mlp_dropout=1.0)).train()
    x, values = random_input()
    torch.testing.assert_close(model(Batch(x, values)), model.mlp[-1].bias.expand(4))


def test_as_many_parameters_as_the_equation_has():
    model = registry.create("opnn", FIELD_DIMS, {"embed_dim": 10})
    D_1 = 100
    layers = len(FIELD_DIMS) * 10 * D_1 + D_1 + 10 * 10 * D_1 + 2 * (100 * 100 + 100) + 100 + 1
    assert sum(p.numel() for p in model.parameters()) == sum(FIELD_DIMS) * 10 + layers


@pytest.mark.parametrize(
    ("hidden_dims", "name"), [([], "len_hidden_dims"), ([0], "hidden_dims"), ([3, 0], "hidden_dims")]
)
def test_an_empty_layer_is_an_error(hidden_dims, name):
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        create(hidden_dims=hidden_dims)
