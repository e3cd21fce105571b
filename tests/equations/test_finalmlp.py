import pytest
import torch
from reference import (
    FIELD_DIMS,
    FRAPPE_X1_PADDED,
    assert_equals_loops,
    by_row,
    concatenated,
    dense,
    embedded,
    num_params,
    random_input,
    randomize,
    relu_layers,
    relu_outputs,
)

from models import registry
from models.layers.batch import Batch

FIELDS = ("city", "user", "day", "movie")
SIZES = {"embed_dim": 2, "hidden_dims": [3, 4], "hidden_dims_2": [6], "gate_hidden_dims": [3], "num_heads": 2}


def create(fields=FIELDS, **settings):
    return registry.create("finalmlp", FIELD_DIMS, {**SIZES, "batch_norm": False, **settings}, fields)


def equation(columns):
    # e_s = 2σ(g_s(c_s)) ⊙ e, o_s = MLP_s(e_s), b + w_1ᵀ o_1 + w_2ᵀ o_2 + Σ_j o_{1j}ᵀ W_{3j} o_{2j}

    def logit(weights, ids, values):
        e, o = concatenated(weights, ids, values), []
        for stream, column in enumerate(columns):
            if column is None:
                (c,) = weights[f"gate.{stream}.c"]
            else:
                own = [ids[column] - sum(FIELD_DIMS[:column])]
                (c,) = embedded(weights, own, values[column : column + 1], f"gate.{stream}.context")
            gate = [2 / (1 + (-g).exp()) for g in relu_outputs(weights, c, f"gate.{stream}.mlp.")]
            o.append(relu_layers(weights, [g * v for g, v in zip(gate, e, strict=True)], f"mlp.{stream}."))
        total = dense(weights, "w", o[0] + o[1])[0]
        for head, W in enumerate(weights["W_3"]):
            for i, row in enumerate(W):
                for j, w in enumerate(row):
                    total = total + o[0][head * len(W) + i] * w * o[1][head * len(row) + j]
        return total

    return by_row(logit)


@pytest.mark.parametrize(
    ("fields", "settings", "columns"),
    [
        (FIELDS, {}, (1, 3)),
        (FIELDS, {"context_fields": False}, (None, None)),
        (("city", "user", "day", "hour"), {}, (1, None)),
        (None, {}, (0, 1)),
    ],
)
def test_the_equation(fields, settings, columns):
    model = randomize(create(fields, **settings))
    x, values = random_input(2)
    assert_equals_loops(model, equation(columns), x, values)


def test_as_many_parameters_as_published():
    names = ("user", "item", *"abcdefgh")
    assert num_params("finalmlp", FRAPPE_X1_PADDED, names) == 253_392 - 1  # its code has two biases in the fusion


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_heads": 3}, r"num_heads must divide the last hidden layers, 4 and 6, got 3"),
        ({"num_heads": 0}, "num_heads must be positive, got 0"),
        ({"hidden_dims_2": []}, "len_hidden_dims_2 must be positive, got 0"),
    ],
)
def test_a_wrong_size_is_an_error(settings, message):
    with pytest.raises(ValueError, match=message):
        create(**settings)


def test_without_gates_and_fusion_it_is_a_sum_of_two_networks():
    model = randomize(create(context_fields=False))
    for gate in model.gate:
        torch.nn.init.zeros_(gate.mlp[-1].weight)
        torch.nn.init.zeros_(gate.mlp[-1].bias)
    torch.nn.init.zeros_(model.W_3)
    x, values = random_input(3)
    e = model.embedding(Batch(x, values)).flatten(1)
    expected = model.w(torch.cat([mlp(e) for mlp in model.mlp], dim=1)).squeeze(-1)
    torch.testing.assert_close(model(Batch(x, values)), expected, rtol=1e-9, atol=1e-9)
