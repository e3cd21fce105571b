import cmath
import math

import pytest
import torch
from reference import (
    FIELD_DIMS,
    FRAPPE_X1_PADDED,
    assert_all_reached,
    assert_equals_loops,
    awake,
    by_row,
    dense,
    embedded,
    layer_norm,
    num_params,
    random_input,
    randomize,
    relu,
)

from models import registry
from models.eulernet import EulerInteraction

K = 2


def create(**settings):
    sizes = {"embed_dim": K, "hidden_dims": [3, 3]}
    return registry.create("eulernet", FIELD_DIMS, {**sizes, **settings})


def layer_of(weights, name, r, p):
    # r_k ← LN(l_k cos ψ_k + relu(W_k r + c_k)), p_k ← LN'(l_k sin ψ_k + relu(W_k p + c_k))
    alpha, b, delta = (weights[f"{name}.{each}"] for each in ("alpha", "b", "delta"))
    implicit_r, implicit_p = (
        relu(dense(weights, f"{name}.W", [number for vector in each for number in vector])) for each in (r, p)
    )
    new_r, new_p = [], []
    for neuron in range(alpha.shape[1]):
        real, imaginary = [], []
        for k in range(K):
            log_modulus, phase = b[neuron, k], delta[neuron, k]
            for j in range(alpha.shape[0]):
                log_modulus = log_modulus + alpha[j, neuron] * (r[j][k] ** 2 + p[j][k] ** 2 + 1e-8).log() / 2
                phase = phase + alpha[j, neuron] * torch.atan2(p[j][k], r[j][k])
            real.append(log_modulus.exp() * phase.cos() + implicit_r[neuron * K + k])
            imaginary.append(log_modulus.exp() * phase.sin() + implicit_p[neuron * K + k])
        if f"{name}.norm_r.weight" in weights:
            real, imaginary = (
                layer_norm(each, weights[f"{name}.{norm}.weight"], weights[f"{name}.{norm}.bias"])
                for each, norm in ((real, "norm_r"), (imaginary, "norm_p"))
            )
        new_r.append(real)
        new_p.append(imaginary)
    return new_r, new_p


def row(weights, ids, values):
    # r_j + i p_j = μ_j exp(i V_j x_j), layers, (wᵀ r + b) + (wᵀ p + b)
    V, mu = embedded(weights, ids, values), weights["mu"]
    r, p = ([[mu[j, 0] * f(x) for x in V[j]] for j in range(len(V))] for f in (torch.cos, torch.sin))
    for layer in range(2):
        r, p = layer_of(weights, f"layers.{layer}", r, p)
    (re,), (im,) = (dense(weights, "w", [number for vector in each for number in vector]) for each in (r, p))
    return re + im


@pytest.mark.parametrize("norm", [False, True])
def test_the_equation(norm):
    model, (x, values) = awake(randomize(create(layer_norm=norm))), random_input()
    assert_equals_loops(model, by_row(row), x, values)
    assert_all_reached(model)
    assert_equals_loops(model, by_row(row), x)


def test_the_explicit_part_is_a_product_of_powers_of_complex_numbers():
    layer = randomize(EulerInteraction(2, 1, 1, 0.0, 0.0, layer_norm=False))
    with torch.no_grad():
        layer.W.weight.zero_()
        layer.W.bias.fill_(-1)  # nothing implicit
        layer.b.zero_()
        layer.delta.zero_()
    first, second = complex(0.6, 0.3), complex(-0.2, 0.9)
    parts = ([[first.real], [second.real]], [[first.imag], [second.imag]])
    r, p = layer(*(torch.tensor([part], dtype=torch.float64) for part in parts))
    orders = layer.alpha.flatten().tolist()
    expected = math.prod(abs(z) ** a for z, a in zip((first, second), orders, strict=True))
    expected *= cmath.exp(1j * sum(cmath.phase(z) * a for z, a in zip((first, second), orders, strict=True)))
    assert complex(r.item(), p.item()) == pytest.approx(expected, rel=1e-6)


def test_orders_start_at_single_fields():
    same, fewer = create(hidden_dims=[4, 3]).layers
    assert torch.equal(same.alpha, torch.eye(4))
    torch.testing.assert_close(fewer.alpha.sum(0), torch.ones(3))
    assert (fewer.alpha.max(0).values > 0.5).all()


def test_dropout_of_everything_leaves_what_no_field_decides():
    x = torch.randn(2, 5, 3, K, dtype=torch.float64)
    layer = randomize(EulerInteraction(3, 2, K, explicit_dropout=1.0, implicit_dropout=0.0, layer_norm=False)).train()
    for new, old, part in zip(layer(*x), x, (layer.delta.cos(), layer.delta.sin()), strict=True):
        torch.testing.assert_close(new, layer.b.exp() * part + layer.implicit(old))
    layer = randomize(EulerInteraction(3, 2, K, explicit_dropout=0.0, implicit_dropout=1.0, layer_norm=False))
    explicit = [new - layer.implicit(old) for new, old in zip(layer(*x), x, strict=True)]
    for new, part in zip(layer.train()(*x), explicit, strict=True):
        torch.testing.assert_close(new, part + layer.W.bias.relu().view(2, K))


def test_as_many_parameters_as_in_its_log():
    unused = 2 * 2 * (10 + 52)  # batch norms that the authors' code makes and does not use
    assert num_params("eulernet", FRAPPE_X1_PADDED) == 108_889 - unused


def test_layer_norm_of_one_number_is_an_error():
    with pytest.raises(ValueError, match="layer_norm needs embed_dim above 1, got 1"):
        create(embed_dim=1)
