import pytest
import torch
from reference import (
    FIELD_DIMS,
    assert_equals_loops,
    by_row,
    embedded,
    linear_terms,
    random_input,
    randomize,
    relu_network,
)

from models import registry
from models.layers.batch import Batch


def create(**settings):
    return registry.create("wide_deep", FIELD_DIMS, {"embed_dim": 3, "hidden_dims": [4, 3], **settings})


def equation(weights, ids, values):
    # w_0 + Σ_i w_i x_i + MLP([V_1 x_1 … V_n x_n])
    inputs = [v for vector in embedded(weights, ids, values) for v in vector]
    return linear_terms(weights, ids, values) + relu_network(weights, inputs)


@pytest.mark.parametrize("hidden_dims", [[], [4], [4, 3, 2]])
def test_the_equation(hidden_dims):
    x, values = random_input()
    for mlp_dropout in (0.0, 0.5):
        model = randomize(create(hidden_dims=hidden_dims, mlp_dropout=mlp_dropout))
        assert_equals_loops(model, by_row(equation), x, values)
    assert_equals_loops(model, by_row(equation), x)


def test_dropout_is_in_the_deep_part():
    model = randomize(create(mlp_dropout=1.0)).train()
    x, values = random_input()
    torch.testing.assert_close(model(Batch(x, values)), model.linear(Batch(x, values)) + model.mlp[-1].bias)


def test_as_many_parameters_as_the_paper_s_layers_have():
    with torch.device("meta"):
        model = registry.create("wide_deep", FIELD_DIMS, {"embed_dim": 32})
    d = len(FIELD_DIMS) * 32
    layers = d * 1024 + 1024 + 1024 * 512 + 512 + 512 * 256 + 256 + 256 + 1
    assert sum(p.numel() for p in model.parameters()) == sum(FIELD_DIMS) * 33 + 1 + layers


def test_the_start():
    torch.manual_seed(0)
    model = registry.create("wide_deep", [2000, 3000], {"embed_dim": 16})
    assert abs(model.embedding.weight.mean()) < 1e-4
    assert abs(model.embedding.weight.std() / 0.01 - 1) < 0.02
    assert not model.linear.weight.any()
