import pytest
import torch
from reference import (
    FIELD_DIMS,
    FRAPPE_X1,
    assert_all_reached,
    assert_equals_loops,
    awake,
    by_row,
    concatenated,
    dense,
    dot,
    halved,
    num_params,
    random_input,
    randomize,
    relu_layers,
)

from models import registry

SIZES = {"embed_dim": 2, "num_cross_layers": 2, "hidden_dims": [4, 3], "low_rank": 2, "num_experts": 3}


def create(**settings):
    return registry.create("dcnv2", FIELD_DIMS, {**SIZES, "batch_norm": False, **settings})


def crosses(weights, x_0):
    # x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l
    x_l = x_0
    for layer in range(2):
        x_l = [a * b + c for a, b, c in zip(x_0, dense(weights, f"crosses.W.{layer}", x_l), x_l, strict=True)]
    return x_l


def mixture(weights, x_0):
    # x_{l+1} = Σ_e G_e(x_l) x_0 ⊙ (U_l^e tanh(C_l^e tanh(V_l^eᵀ x_l)) + b_l) + x_l
    x_l, d = x_0, len(x_0)
    U, C, V, b = (weights[f"crosses.{name}"] for name in "UCVb")
    for layer in range(2):
        gates = [gate.exp() for gate in dense(weights, "crosses.gate", x_l)]
        new = list(x_l)
        for e in range(3):
            low = [sum(V[layer, e, k, r] * x_l[k] for k in range(d)).tanh() for r in range(2)]
            mapped = [dot(C[layer, e, r], low).tanh() for r in range(2)]
            for k in range(d):
                expert = dot(U[layer, e, k], mapped) + b[layer, k]
                new[k] = new[k] + gates[e] / sum(gates) * x_0[k] * expert
        x_l = new
    return x_l


def equation(cross, structure):
    def logit(weights, ids, values):
        x_0 = concatenated(weights, ids, values)
        x_L = {"full": crosses, "mixture": mixture}[cross](weights, x_0)
        if structure == "parallel":  # w_logitsᵀ [x_L, h_L'] + b
            last = [*x_L, *relu_layers(weights, x_0, "deep.")]
        else:
            last = relu_layers(weights, x_L, "deep.")
        return dense(weights, "w_logits", last)[0]

    return by_row(logit)


@pytest.mark.parametrize(("cross", "structure"), [("full", "parallel"), ("full", "stacked"), ("mixture", "parallel")])
def test_the_equation(cross, structure):
    model = awake(halved(randomize(create(cross=cross, structure=structure))))
    x, values = random_input(2)
    assert_equals_loops(model, equation(cross, structure), x, values)
    assert_all_reached(model)


def test_one_expert_of_full_rank_without_its_nonlinearity_would_be_a_cross():
    model = halved(randomize(create(cross="mixture", num_experts=1, low_rank=8)))
    x_0, (U, C, V) = torch.randn(3, 8, dtype=torch.float64) * 1e-4, (model.crosses.U, model.crosses.C, model.crosses.V)
    x_l = x_0
    for layer in range(2):  # for small x, tanh(x) is x
        W = U[layer, 0] @ C[layer, 0] @ V[layer, 0].T
        x_l = x_0 * (x_l @ W.T + model.crosses.b[layer]) + x_l
    torch.testing.assert_close(model.crosses(x_0), x_l, rtol=1e-6, atol=0)


def test_as_many_parameters_as_published():
    assert num_params("dcnv2", FRAPPE_X1) == 458_391
    d, E, r = 100, 4, 32
    experts = 4 * (E * (2 * d * r + r * r) + d) + d * E
    assert num_params("dcnv2", FRAPPE_X1, cross="mixture") == 458_391 - 4 * (d * d + d) + experts


@pytest.mark.parametrize(
    "settings", [{"num_cross_layers": 0}, {"hidden_dims": []}, {"cross": "mixture", "low_rank": 0}]
)
def test_an_empty_part_is_an_error(settings):
    with pytest.raises(ValueError, match="must be positive, got 0"):
        create(**settings)
