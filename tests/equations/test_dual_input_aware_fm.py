import pytest
from reference import (
    FIELD_DIMS,
    assert_all_reached,
    assert_equals_loops,
    by_row,
    concatenated,
    dense,
    dot,
    embedded,
    num_params,
    random_input,
    randomize,
    relu,
    relu_layers,
    softmax,
)

from models import registry

HEADS, SIZE = 2, 3


def create(**settings):
    sizes = {"embed_dim": 3, "num_heads": HEADS, "head_dim": SIZE, "hidden_dims": [4, 3], "batch_norm": False}
    return registry.create("dual_input_aware_fm", FIELD_DIMS, {**sizes, **settings})


def attended(weights, V, size=SIZE, heads=HEADS):
    # o_i = relu([Σ_k α_ik W_V V_k of each head] + W_Res V_i), α_ik = softmax_k ⟨W_Q V_i, W_K V_k⟩ / √size
    Q, K, values, residual = (
        [dense(weights, f"attention.{name}", v) for v in V] for name in ("W_Q", "W_K", "W_V", "W_Res")
    )
    numbers = []
    for i in range(len(V)):
        o = list(residual[i])
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            alpha = softmax([dot(Q[i][own], key[own]) / size**0.5 for key in K], [True] * len(V))
            for a in range(own.start, own.stop):
                o[a] = o[a] + sum(share * v[a] for share, v in zip(alpha, values, strict=True))
        numbers += relu(o)
    return numbers


def equation(size=SIZE, heads=HEADS):
    # w_0 + Σ_i m_i w_i x_i + Σ_{i<j} ⟨m_i V_i, m_j V_j⟩ x_i x_j, m = P_bit h + P_vec [o_1 … o_n]

    def row(weights, ids, values):
        V = embedded(weights, ids, values)
        bit = dense(weights, "P_bit", relu_layers(weights, concatenated(weights, ids, values), "hidden."))
        vec = dense(weights, "P_vec", attended(weights, V, size, heads))
        m = [a + b for a, b in zip(bit, vec, strict=True)]
        total = weights["linear.bias"]
        for factor, i, x in zip(m, ids, values, strict=True):
            total = total + factor * weights["linear.weight"][i] * x
        for i in range(len(ids)):
            for j in range(i + 1, len(ids)):
                total = total + m[i] * m[j] * dot(V[i], V[j])
        return total

    return row


def test_the_equation():
    model, (x, values) = randomize(create()), random_input()
    assert_equals_loops(model, by_row(equation()), x, values)
    assert_all_reached(model)
    assert_equals_loops(model, by_row(equation()), x)


def test_what_is_kept_has_weights_where_sizes_agree_too():
    model = randomize(create(num_heads=1))
    assert_equals_loops(model, by_row(equation(heads=1)), *random_input(2))


def test_as_many_parameters_as_in_its_equation():
    n, K, size = 10, 16, 64
    network = n * K * 256 + 2 * 256 * 256 + 3 * 256 + 2 * 3 * 256 + 256 * n  # with biases and batch norm
    attention = 4 * K * size + n * size * n
    assert num_params("dual_input_aware_fm", [538] * 10) == 5380 * (K + 1) + 1 + network + attention


@pytest.mark.parametrize("name", ["num_heads", "head_dim"])
def test_an_empty_part_is_an_error(name):
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        create(**{name: 0})
