import pytest
import torch
from reference import FIELD_DIMS, assert_equals_loops, by_row, embedded, random_input, randomize, relu_network

from models import registry
from models.layers.batch import Batch

SIZES = {"embed_dim": 3, "hidden_dims": [4, 3]}


def create(**settings):
    return registry.create("pnn", FIELD_DIMS, {**SIZES, **settings})


def inner(weights, vectors, unit):
    # W_p ⊙ p of one unit of l_1: Σ_i Σ_j θ_i θ_j ⟨f_i, f_j⟩
    theta, total = weights["inner.theta"], 0
    for i, first in enumerate(vectors):
        for j, second in enumerate(vectors):
            total += theta[i, unit] * theta[j, unit] * sum(a * b for a, b in zip(first, second, strict=True))
    return total


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
        l_p = inner(weights, f, unit) + outer(weights, f, unit)
        l_1.append((l_z + l_p + b_1[unit]).clamp(min=0))
    return relu_network(weights, l_1)


@pytest.mark.parametrize("hidden_dims", [[4], [4, 3], [4, 3, 2]])
def test_the_equation(hidden_dims):
    x, values = random_input()
    for mlp_dropout in (0.0, 0.5):
        model = randomize(create(hidden_dims=hidden_dims, mlp_dropout=mlp_dropout))
        assert_equals_loops(model, by_row(equation), x, values)
    assert_equals_loops(model, by_row(equation), x)


@pytest.mark.parametrize(("name", "other"), [("ipnn", "outer.W_p"), ("opnn", "inner.theta")])
def test_without_one_kind_of_products_it_is_the_model_of_the_other(name, other):
    model = randomize(create())
    model.get_parameter(other).data.zero_()
    one = registry.create(name, FIELD_DIMS, SIZES).double().eval()
    one.load_state_dict({key: value for key, value in model.state_dict().items() if key != other})
    x, values = random_input(8)
    torch.testing.assert_close(model(Batch(x, values)), one(Batch(x, values)), rtol=1e-9, atol=1e-9)


def test_its_products_are_the_sum_of_those_of_ipnn_and_opnn():
    model = randomize(create())
    ipnn, opnn = (registry.create(name, FIELD_DIMS, SIZES).double().eval() for name in ("ipnn", "opnn"))
    for one in (ipnn, opnn):
        one.load_state_dict({key: value for key, value in model.state_dict().items() if key in one.state_dict()})
    x, values = random_input(8)
    f = model.embedding(Batch(x, values))
    l_1 = torch.relu(model.l_z(f.flatten(1)) + ipnn.inner(f) + opnn.outer(f))
    torch.testing.assert_close(model(Batch(x, values)), model.mlp(l_1).squeeze(-1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("hidden_dims", [[4], [4, 3]])
def test_dropout_is_in_all_hidden_layers(hidden_dims):
    model = randomize(create(hidden_dims=hidden_dims, mlp_dropout=1.0)).train()
    x, values = random_input()
    torch.testing.assert_close(model(Batch(x, values)), model.mlp[-1].bias.expand(4))


def test_as_many_parameters_as_the_equation_has():
    model = registry.create("pnn", FIELD_DIMS, {"embed_dim": 10})
    D_1 = 100
    layers = len(FIELD_DIMS) * 10 * D_1 + D_1 + 4 * D_1 + 10 * 10 * D_1 + 2 * (100 * 100 + 100) + 100 + 1
    assert sum(p.numel() for p in model.parameters()) == sum(FIELD_DIMS) * 10 + layers


@pytest.mark.parametrize(
    ("hidden_dims", "name"), [([], "len_hidden_dims"), ([0], "hidden_dims"), ([3, 0], "hidden_dims")]
)
def test_an_empty_layer_is_an_error(hidden_dims, name):
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        create(hidden_dims=hidden_dims)
