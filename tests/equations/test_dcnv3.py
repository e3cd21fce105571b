import pytest
import torch
from reference import (
    FIELD_DIMS,
    assert_equals_loops,
    by_row,
    dense,
    embedded,
    halved,
    layer_norm,
    num_params,
    random_input,
    randomize,
    relu,
)

from models import registry
from models.layers.batch import Batch

ML_1M = (9, 4, 20, 3643, 23, 10, 6042)  # by its authors' log


def create(**settings):
    sizes = {"embed_dim": 2, "num_deep_layers": 2, "num_shallow_layers": 2}
    return registry.create("dcnv3", FIELD_DIMS, {**sizes, **settings})


def equation(weights, ids, values):
    # ½ (w_Dᵀ x_L + b_D + w_Sᵀ x_L' + b_S); x ⊙ (m(W x_l) + b) + x_l with x = x_l or x_0, m(c) = [c, c ⊙ relu(LN(c))]
    V = embedded(weights, ids, values)
    x_0 = [v[0] for v in V] + [v[1] for v in V]
    logits = []
    for network, unit in (("deep", "w_D"), ("shallow", "w_S")):
        x_l = x_0
        for layer in range(2):
            name = f"{network}.{layer}"
            c = dense(weights, f"{name}.W", x_l)
            mask = relu(layer_norm(c, weights[f"{name}.norm.weight"], weights[f"{name}.norm.bias"]))
            m = [*c, *(a * b for a, b in zip(c, mask, strict=True))]
            x = x_l if network == "deep" else x_0
            x_l = [x[k] * (m[k] + weights[f"{name}.b"][k]) + x_l[k] for k in range(len(x))]
        logits += dense(weights, unit, x_l)
    return sum(logits) / 2


def test_the_equation():
    model, (x, values) = halved(randomize(create())), random_input(2)
    assert_equals_loops(model, by_row(equation), x, values)


def test_each_network_has_its_own_dropout():
    x, values = random_input(3)
    for part, other, unit in (("deep", "shallow", "w_D"), ("shallow", "deep", "w_S")):
        rates = {f"{part}_dropout": 1.0, f"{other}_dropout": 0.0}
        model = halved(randomize(create(**rates))).train()
        getattr(model, "w_S" if unit == "w_D" else "w_D").weight.data.zero_()
        expected = (model.w_D.bias + model.w_S.bias) / 2
        torch.testing.assert_close(model(Batch(x, values)), expected.expand(3))


def test_as_many_parameters_as_in_its_log():
    own = num_params("dcnv3", ML_1M, embed_dim=16, num_deep_layers=3, num_shallow_layers=4)
    assert own == 201_728 - 7 * 2  # that one has a batch norm of one number in each layer


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"embed_dim": 3}, "embed_dim must be even, got 3"),
        ({"num_deep_layers": 0}, "num_deep_layers must be positive, got 0"),
        ({"num_shallow_layers": 0}, "num_shallow_layers must be positive, got 0"),
    ],
)
def test_a_wrong_size_is_an_error(settings, message):
    with pytest.raises(ValueError, match=message):
        create(**settings)
