import pytest
import torch
from reference import (
    FIELD_DIMS,
    assert_equals_loops,
    by_row,
    dense,
    embedded,
    num_params,
    random_input,
    randomize,
    relu_network,
)

from models import registry
from models.arm_net import entmax

HEADS, NEURONS, K = 2, 3, 2


def create(**settings):
    sizes = {"embed_dim": K, "num_heads": HEADS, "num_neurons": NEURONS, "hidden_dims": [3], "hidden_dims_2": [2]}
    return registry.create("arm_net", FIELD_DIMS, {**sizes, "batch_norm": False, **settings})


def entmax_of_numbers(numbers, alpha):
    """Try each size of the support, from the largest; the threshold has a closed form for α 2 and 1.5."""
    if alpha == 1:
        return [number.exp() / sum(other.exp() for other in numbers) for number in numbers]
    scaled = sorted(((alpha - 1) * number for number in numbers), reverse=True)
    for size in range(len(scaled), 0, -1):
        mean = sum(scaled[:size]) / size
        tau = mean - 1 / size
        if alpha == 1.5:
            rest = 1 / size - sum((number - mean) ** 2 for number in scaled[:size]) / size
            tau = mean - rest.clamp(min=0) ** 0.5 if rest > 0 else scaled[size - 1]
        if scaled[size - 1] > tau:
            break
    return [((alpha - 1) * number - tau).clamp(min=0) ** (1 / (alpha - 1)) for number in numbers]


def equation(alpha):
    # y_ko = exp(Σ_i v_koi z_koi V_i x_i), z = entmax(q W V / √K), MLP([BN(y_1) …]); BN has mean 0 and variance 1

    def row(weights, ids, values):
        V = embedded(weights, ids, values, "embedding.0")
        numbers = []
        for k in range(HEADS):
            keys = [[sum(v[a] * weights["W"][k, a, b] for a in range(K)) for b in range(K)] for v in V]
            for o in range(NEURONS):
                q = weights["q"][k, o]
                z = entmax_of_numbers([sum(key[b] * q[b] for b in range(K)) / K**0.5 for key in keys], alpha)
                w = [weights["v"][k, o, i] * z[i] for i in range(len(V))]
                scale, shift = (weights[f"norm_neurons.{name}"][k * NEURONS + o] for name in ("weight", "bias"))
                for a in range(K):
                    y = sum(w[i] * V[i][a] for i in range(len(V))).exp()
                    numbers.append(scale * y / (1 + 1e-5) ** 0.5 + shift)
        y = relu_network(weights, numbers)
        if "w_ensemble.weight" in weights:
            vectors = embedded(weights, ids, values, "embedding.1")
            deep = relu_network(weights, [number for vector in vectors for number in vector], "dnn.")
            (y,) = dense(weights, "w_ensemble", [y, deep])
        return y

    return row


@pytest.mark.parametrize(("alpha", "ensemble"), [(2.0, False), (1.5, True), (1.0, False)])
def test_the_equation(alpha, ensemble):
    model, (x, values) = randomize(create(alpha=alpha, ensemble=ensemble)), random_input()
    assert_equals_loops(model, by_row(equation(alpha)), x, values)


@pytest.mark.parametrize("alpha", [1.5, 1.7, 2.0])
def test_entmax_sums_to_one_and_leaves_fields_out(alpha):
    x = torch.randn(50, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
    p = entmax(x, alpha)
    torch.testing.assert_close(p.sum(-1), torch.ones(50, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    assert ((p == 0).sum(-1) > 20).all()
    assert torch.autograd.gradcheck(lambda x: entmax(x, alpha), x[:3, :6].clone().requires_grad_())


@pytest.mark.parametrize(("embed_dim", "thousands"), [(10, 177), (100, 953)])
def test_one_head_has_as_many_parameters_as_published(embed_dim, thousands):
    # in the authors' README; their table of embeddings has 5,500 rows for Frappe
    sizes = {"num_heads": 1, "num_neurons": 10, "hidden_dims": [300, 300]}
    assert num_params("arm_net", [550] * 10, embed_dim=embed_dim, **sizes) // 1000 == thousands


def test_an_alpha_below_that_of_sparse_attention_is_an_error():
    with pytest.raises(ValueError, match=r"alpha must be 1, or between 1.5 and 2, got 1.2"):
        create(alpha=1.2)
