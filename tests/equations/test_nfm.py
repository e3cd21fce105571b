import pytest
import torch
from reference import (
    FIELD_DIMS,
    assert_equals_loops,
    by_row,
    embedded,
    linear_terms,
    products_of,
    random_input,
    randomize,
)

from models import registry
from models.layers.batch import Batch

FRAPPE = (957, 4082, 7, 7, 2, 3, 2, 9, 80, 233)
MOVIELENS = (17045, 23743, 49657)


def create(**settings):
    return registry.create("nfm", FIELD_DIMS, {"embed_dim": 3, **settings})


def names_of_linear_layers(model):
    return [name for name, layer in model.named_modules() if name.startswith("mlp.") and hasattr(layer, "in_features")]


def linear(weights, name, inputs):
    W, b = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return [b[unit] + sum(W[unit, k] * inputs[k] for k in range(W.shape[1])) for unit in range(W.shape[0])]


def pooled(weights, ids, values):
    # Σ_{i<j} V_i x_i ⊙ V_j x_j, as a list of numbers
    return [sum(column) for column in zip(*products_of(embedded(weights, ids, values)), strict=True)]


def equation(layers):
    # w_0 + Σ_i w_i x_i + hᵀ Relu(W_L … Relu(W_1 Σ_{i<j} V_i x_i ⊙ V_j x_j + b_1) … + b_L)

    def logit(weights, ids, values):
        z = pooled(weights, ids, values)
        for name in layers:
            z = [unit if unit > 0 else unit * 0 for unit in linear(weights, name, z)]
        return linear_terms(weights, ids, values) + sum(
            h * unit for h, unit in zip(weights["h.weight"][0], z, strict=True)
        )

    return by_row(logit)


@pytest.mark.parametrize("hidden_dims", [(), (5,), (4, 3)])
def test_the_equation(hidden_dims):
    x, values = random_input()
    for seed, inputs in enumerate([(x, values), (x,)]):
        model = randomize(create(hidden_dims=hidden_dims, batch_norm=False), seed)
        layers = names_of_linear_layers(model)
        assert len(layers) == len(hidden_dims)
        assert_equals_loops(model, equation(layers), *inputs)


def test_batch_norm_is_on_the_interactions_and_on_each_hidden_layer_before_its_relu():
    model = randomize(create(hidden_dims=(4, 2), dropout=0.0, hidden_dropout=0.0)).train()
    layers = names_of_linear_layers(model)
    norms = [f"mlp.{int(name.removeprefix('mlp.')) + 1}" for name in layers]

    def normalised(weights, name, rows):
        columns = []
        for k, column in enumerate(zip(*rows, strict=True)):
            mean = sum(column) / len(column)
            deviation = (sum((c - mean) ** 2 for c in column) / len(column) + 1e-5).sqrt()
            gain, shift = weights[f"{name}.weight"][k], weights[f"{name}.bias"][k]
            columns.append([gain * (c - mean) / deviation + shift for c in column])
        return list(zip(*columns, strict=True))

    def loops(weights, x, values):
        rows = list(zip(x.tolist(), values, strict=True))
        z = normalised(weights, "batch_norm", [pooled(weights, ids, row) for ids, row in rows])
        for name, norm in zip(layers, norms, strict=True):
            z = normalised(weights, norm, [linear(weights, name, units) for units in z])
            z = [[unit if unit > 0 else unit * 0 for unit in units] for units in z]
        h = weights["h.weight"][0]
        return torch.stack(
            [
                linear_terms(weights, ids, row) + sum(a * b for a, b in zip(h, units, strict=True))
                for (ids, row), units in zip(rows, z, strict=True)
            ]
        )

    assert_equals_loops(model, loops, *random_input(num_rows=6))


def test_without_hidden_layers_and_with_h_of_ones_it_is_an_fm():
    nfm = randomize(create(hidden_dims=(), batch_norm=False))
    fm = randomize(registry.create("fm", FIELD_DIMS, {"embed_dim": 3}))
    nfm.load_state_dict(fm.state_dict(), strict=False)
    torch.nn.init.ones_(nfm.h.weight)
    x, values = random_input()
    torch.testing.assert_close(nfm(Batch(x, values)), fm(Batch(x, values)), rtol=1e-9, atol=1e-9)


def test_dropout_takes_from_the_interactions_and_hidden_dropout_from_the_hidden_layers():
    x, values = random_input()
    model = randomize(create(dropout=1.0, hidden_dropout=0.0, batch_norm=False)).train()
    constant = model.h(model.mlp(torch.zeros(1, 3, dtype=torch.float64))).squeeze()
    torch.testing.assert_close(model(Batch(x, values)), model.linear(Batch(x, values)) + constant)
    model = randomize(create(dropout=0.0, hidden_dropout=1.0, batch_norm=False)).train()
    torch.testing.assert_close(model(Batch(x, values)), model.linear(Batch(x, values)))


def test_it_starts_as_in_the_released_code():
    model = registry.create("nfm", (400, 500), {"hidden_dims": (128, 64)})
    assert not model.linear.weight.any()
    assert abs(model.embedding.weight.std() - 0.01) < 1e-4
    first, second = (layer for layer in model.mlp if isinstance(layer, torch.nn.Linear))
    for layer, units in ((first, 256 + 128), (second, 128 + 64)):
        std = (2 / units) ** 0.5
        assert abs(layer.weight.mean()) < std * 0.05
        assert abs(layer.weight.std() / std - 1) < 0.05
        assert abs(layer.bias.std() / std - 1) < 0.4
    assert abs(model.h.weight.std() / (2 / 65) ** 0.5 - 1) < 0.4


@pytest.mark.parametrize(("field_dims", "expected"), [(FRAPPE, 1_449_223), (MOVIELENS, 23_310_414)])
def test_as_many_parameters_as_in_the_paper(field_dims, expected):
    with torch.device("meta"):
        model = registry.create("nfm", field_dims, {"batch_norm": False})
        normalised = registry.create("nfm", field_dims, {})
    m = sum(field_dims)
    assert sum(p.numel() for p in model.parameters()) == m * 256 + m + 1 + 256**2 + 2 * 256 == expected
    assert (
        sum(p.numel() for p in normalised.parameters()) == expected + 2 * 2 * 256
    )  # the paper does not count batch norm
