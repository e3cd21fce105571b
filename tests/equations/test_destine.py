import pytest
from reference import (
    FIELD_DIMS,
    FRAPPE_X1,
    assert_equals_loops,
    by_row,
    dense,
    embedded,
    num_params,
    random_input,
    randomize,
    relu_network,
    softmax,
)

from models import registry

HEADS, SIZE = 2, 3


def create(**settings):
    sizes = {"embed_dim": 2, "num_attention_layers": 2, "num_heads": HEADS, "head_dim": SIZE, "hidden_dims": [3]}
    return registry.create("destine", FIELD_DIMS, {**sizes, "batch_norm": False, **settings})


def row(weights, ids, values):
    # layers e_m ← [Σ_k (α_mk + β_k) v_k of each head] + W_Res e_m, then wᵀ [e_1 …] + b + MLP([V_1 x_1 …])
    V = embedded(weights, ids, values)
    e = V
    for layer in range(2):
        q, k, v, residual, unary = (
            [dense(weights, f"attention.{layer}.{name}", vector) for vector in e]
            for name in ("W_q", "W_k", "W_v", "W_Res", "u")
        )
        new = [list(vector) for vector in residual]
        for head in range(HEADS):
            own = range(head * SIZE, (head + 1) * SIZE)
            mean_q, mean_k = ({a: sum(x[a] for x in each) / len(each) for a in own} for each in (q, k))
            beta = softmax([x[head] for x in unary], [True] * len(e))
            for m in range(len(e)):
                logits = [sum((q[m][a] - mean_q[a]) * (x[a] - mean_k[a]) for a in own) / SIZE**0.5 for x in k]
                alpha = softmax(logits, [True] * len(e))
                for a in own:
                    new[m][a] = new[m][a] + sum((alpha[i] + beta[i]) * v[i][a] for i in range(len(e)))
        e = new
    (y,) = dense(weights, "w", [number for vector in e for number in vector])
    return y + relu_network(weights, [number for vector in V for number in vector])


def test_the_equation():
    assert_equals_loops(randomize(create()), by_row(row), *random_input(2))


def test_as_many_parameters_as_published():
    assert num_params("destine", FRAPPE_X1) == 623_346


def test_no_heads_is_an_error():
    with pytest.raises(ValueError, match="num_heads must be positive, got 0"):
        create(num_heads=0)
