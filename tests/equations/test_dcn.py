import pytest
import torch
from reference import FIELD_DIMS, assert_equals_loops, by_row, embedded, random_input, randomize

from models import registry
from models.layers.batch import Batch


def create(**settings):
    sizes = {"embed_dim": 3, "num_cross_layers": 2, "hidden_dims": [4, 3], "batch_norm": False}
    return registry.create("dcn", FIELD_DIMS, {**sizes, **settings})


def crosses(weights, x_0):
    # x_{l+1} = x_0 x_lᵀ w_l + b_l + x_l, one number at a time.
    x_l, d = x_0, len(x_0)
    for w, b in zip(weights["w"], weights["b"], strict=True):
        x_l = [sum(x_0[r] * x_l[c] * w[c] for c in range(d)) + b[r] + x_l[r] for r in range(d)]
    return x_l


def equation(weights, ids, values):
    # w_logitsᵀ [x_L, h_L']
    x_0 = [v for vector in embedded(weights, ids, values) for v in vector]
    h = x_0
    layers = sorted({int(name.split(".")[1]) for name in weights if name.startswith("deep.")})
    for layer in layers:
        W, b = weights[f"deep.{layer}.weight"], weights[f"deep.{layer}.bias"]
        outputs = [b[unit] + sum(W[unit, k] * h[k] for k in range(len(h))) for unit in range(len(b))]
        h = [output if output > 0 else output * 0 for output in outputs]
    (w_logits,) = weights["w_logits.weight"]
    return sum(w * v for w, v in zip(w_logits, [*crosses(weights, x_0), *h], strict=True))


@pytest.mark.parametrize("num_cross_layers", [1, 2, 3])
@pytest.mark.parametrize("hidden_dims", [[4], [4, 3]])
def test_the_equation(num_cross_layers, hidden_dims):
    settings = {"num_cross_layers": num_cross_layers, "hidden_dims": hidden_dims}
    x, values = random_input(3)
    for mlp_dropout in (0.0, 0.5):
        model = randomize(create(**settings, mlp_dropout=mlp_dropout))
        for parameter in model.parameters():
            parameter.data.mul_(0.5)  # a cross multiplies the size
        assert_equals_loops(model, by_row(equation), x, values)
    assert_equals_loops(model, by_row(equation), x)


def test_its_crosses_reach_one_degree_more_than_there_are_layers():
    model = randomize(create(num_cross_layers=3))
    torch.nn.init.zeros_(model.b)
    model.w_logits.weight.data[:, 12:] = 0
    x = random_input(1)[0]
    scales = torch.arange(1.0, 7.0, dtype=torch.float64)
    outputs = model(Batch(x.expand(6, -1), scales[:, None].expand(6, 4)))
    differences = outputs - 0  # a polynomial of degree 4 in the scale: its fifth differences vanish, the fourth don't
    for _ in range(4):
        differences = differences.diff()
    assert differences.abs().min() > 1e-3
    assert differences.diff().abs().max() < 1e-7 * outputs.abs().max()


def test_batch_norm_is_in_the_deep_layers_before_relu():
    model = randomize(create(batch_norm=True)).train()
    kinds = [type(layer).__name__ for layer in model.deep]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * 2
    x, values = random_input(5)
    h = model.embedding(Batch(x, values)).flatten(1)
    for linear, norm in ((model.deep[0], model.deep[1]), (model.deep[3], model.deep[4])):
        a = linear(h)
        a = (a - a.mean(0)) / (a.var(0, unbiased=False) + 1e-5).sqrt()
        h = (norm.weight * a + norm.bias).clamp(min=0)
    weights = dict(model.named_parameters())
    x_l = torch.stack(
        [torch.stack(crosses(weights, list(row))) for row in model.embedding(Batch(x, values)).flatten(1)]
    )
    expected = torch.cat([x_l, h], 1) @ model.w_logits.weight[0]
    torch.testing.assert_close(model(Batch(x, values)), expected, rtol=1e-9, atol=1e-9)


def test_as_many_parameters_as_the_paper_s_layers_have():
    with torch.device("meta"):
        model = registry.create("dcn", FIELD_DIMS, {"embed_dim": 32, "batch_norm": False})
    d = len(FIELD_DIMS) * 32
    layers = d * 1024 + 1024 + 1024 * 1024 + 1024
    assert sum(p.numel() for p in model.parameters()) == sum(FIELD_DIMS) * 32 + 6 * 2 * d + layers + d + 1024


def test_the_start():
    torch.manual_seed(0)
    model = registry.create("dcn", [2000, 3000], {"embed_dim": 1000, "hidden_dims": [4]})
    assert abs(model.embedding.weight.std() / 0.01 - 1) < 0.02
    assert abs(model.w.mean()) < 5 * 2000**-0.5 / 12_000**0.5
    assert abs(model.w.std() * 2000**0.5 - 1) < 0.05
    assert not model.b.any()


@pytest.mark.parametrize("settings", [{"num_cross_layers": 0}, {"hidden_dims": []}, {"hidden_dims": [0]}])
def test_an_empty_part_is_an_error(settings):
    with pytest.raises(ValueError, match="must be positive, got 0"):
        create(**settings)
