import pytest
import torch
from reference import (
    FIELD_DIMS,
    FRAPPE_X1,
    assert_equals_loops,
    by_row,
    concatenated,
    dense,
    dot,
    num_params,
    random_input,
    randomize,
    relu,
)

from models import registry
from models.layers.batch import Batch


def create(**settings):
    sizes = {"embed_dim": 2, "num_cross_layers": 2, "batch_norm": False}
    return registry.create("edcn", FIELD_DIMS, {**sizes, **settings})


def equation(weights, ids, values):
    # x = g ⊙ s, h = g' ⊙ s; x' = x_0 (xᵀ w) + b + x, h' = relu(W h + b'), s = x' ⊙ h'; wᵀ [x', h', s] + b
    s, x_0 = concatenated(weights, ids, values), None
    for step in range(2):
        parts = []
        for gamma in weights["gamma"][step]:
            gates = [(g / 5).exp() for g in gamma]
            parts.append([gates[k // 2] / sum(gates) * number for k, number in enumerate(s)])
        x, h = parts
        x_0 = x_0 or x
        projected = dot(x, weights[f"w_cross.{step}.weight"][0])
        x = [a * projected + b + c for a, b, c in zip(x_0, weights["b"][step], x, strict=True)]
        h = relu(dense(weights, f"deep.{step}.0", h))
        s = [a * b for a, b in zip(x, h, strict=True)]
    return dense(weights, "w", x + h + s)[0]


def test_the_equation():
    model, (x, values) = randomize(create()), random_input(2)
    assert_equals_loops(model, by_row(equation), x, values)


def test_batch_norm_is_on_both_parts():
    model = randomize(create(num_cross_layers=1, batch_norm=True, mlp_dropout=0.0)).train()
    x, values = random_input(5)
    s = model.embedding(Batch(x, values)).flatten(1)
    gates = torch.softmax(model.gamma[0] / 5, dim=-1).repeat_interleave(2, dim=1)
    parts = []
    for gate, norm in zip(gates, (model.norm_x[0], model.norm_h[0]), strict=True):
        a = gate * s
        a = (a - a.mean(0)) / (a.var(0, unbiased=False) + 1e-5).sqrt()
        parts.append(norm.weight * a + norm.bias)
    crossed = parts[0] * model.w_cross[0](parts[0]) + model.b[0] + parts[0]
    h = torch.relu(model.deep[0][0](parts[1]))
    expected = model.w(torch.cat([crossed, h, crossed * h], dim=1)).squeeze(-1)
    torch.testing.assert_close(model(Batch(x, values)), expected, rtol=1e-9, atol=1e-9)


def test_as_many_parameters_as_published():
    assert num_params("edcn", FRAPPE_X1) == 86_351


@pytest.mark.parametrize("name", ["num_cross_layers", "temperature"])
def test_an_empty_part_is_an_error(name):
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        create(**{name: 0})
