import pytest
import torch
from reference import FIELD_DIMS, assert_equals_loops, by_row, random_input, randomize

from models import registry
from models.layers.batch import Batch
from pipelines.training.start import new_model

SCHEMA = {"field_dims": FIELD_DIMS, "fields": ["a", "b", "c", "d"]}


def create(**settings):
    return registry.create("fnn", FIELD_DIMS, {"embed_dim": 3, "hidden_dims": [4, 3], **settings})


def equation(weights, ids, values):
    # W_3 tanh(W_2 tanh(W_1 z + b_1) + b_2) + b_3, z = (w_0, w_1 x_1, V_1 x_1, …, w_n x_n, V_n x_n)
    V, z = weights["embedding.weight"], [weights["linear.bias"]]
    for i, x in zip(ids, values, strict=True):
        z += [weights["linear.weight"][i] * x, *(V[i, k] * x for k in range(V.shape[1]))]
    layers = sorted({int(name.split(".")[1]) for name in weights if name.startswith("mlp.")})
    for layer in layers:
        W, b = weights[f"mlp.{layer}.weight"], weights[f"mlp.{layer}.bias"]
        z = [b[unit] + sum(W[unit, k] * z[k] for k in range(len(z))) for unit in range(len(b))]
        z = z if layer == layers[-1] else [number.tanh() for number in z]
    return z[0]


@pytest.mark.parametrize("hidden_dims", [[], [4], [4, 3], [2, 3, 2]])
def test_the_equation(hidden_dims):
    x, values = random_input()
    for mlp_dropout in (0.0, 0.5):
        model = randomize(create(hidden_dims=hidden_dims, mlp_dropout=mlp_dropout))
        assert_equals_loops(model, by_row(equation), x, values)
    assert_equals_loops(model, by_row(equation), x)


def test_dropout_is_in_the_hidden_layers():
    model = randomize(create(mlp_dropout=1.0)).train()
    x, values = random_input()
    torch.testing.assert_close(model(Batch(x, values)), model.mlp[-1].bias.expand(4))


def test_it_starts_from_a_trained_fm():
    fm = randomize(registry.create("fm", FIELD_DIMS, {"embed_dim": 3})).float()
    model = new_model("fnn", SCHEMA, {"embed_dim": 3}, 0, fm.state_dict())
    for name in ("linear.bias", "linear.weight", "embedding.weight"):
        assert torch.equal(model.state_dict()[name].cpu(), fm.state_dict()[name])


def test_the_start_without_an_fm():
    torch.manual_seed(0)
    model = registry.create("fnn", [2000, 3000], {"embed_dim": 16})
    assert abs(model.embedding.weight.mean()) < 1e-4
    assert abs(model.embedding.weight.std() / 0.01 - 1) < 0.02
    assert not model.linear.weight.any()
    assert not model.linear.bias


def test_as_many_parameters_as_the_equation_has():
    model = registry.create("fnn", FIELD_DIMS, {"embed_dim": 10})
    d = 1 + len(FIELD_DIMS) * 11
    layers = d * 300 + 300 + 300 * 100 + 100 + 100 + 1
    assert sum(p.numel() for p in model.parameters()) == sum(FIELD_DIMS) * 11 + 1 + layers
