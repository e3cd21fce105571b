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
    embedded,
    num_params,
    random_input,
    randomize,
    relu,
    relu_network,
)

from models import registry
from models.layers.batch import Batch


def create(**settings):
    sizes = {"embed_dim": 3, "num_attention_layers": 2, "num_heads": 2, "head_dim": 2}
    return registry.create("autoint", FIELD_DIMS, {**sizes, **settings})


def attend(weights, name, e):
    # α_mk = softmax_k ⟨W_Q e_m, W_K e_k⟩ in each head, e_m ← relu([Σ_k α_mk W_V e_k] + W_Res e_m)
    Q, K, V = ([dense(weights, f"{name}.{W}", e_m) for e_m in e] for W in ("W_Q", "W_K", "W_V"))
    new = []
    for m, e_m in enumerate(e):
        heads = []
        for head in (slice(0, 2), slice(2, 4)):
            alpha = [dot(Q[m][head], key[head]).exp() for key in K]
            heads += [sum(a * v[head][k] for a, v in zip(alpha, V, strict=True)) / sum(alpha) for k in range(2)]
        kept = dense(weights, f"{name}.W_Res", e_m) if f"{name}.W_Res.weight" in weights else e_m
        new.append(relu([a + b for a, b in zip(heads, kept, strict=True)]))
    return new


def equation(weights, ids, values):
    # wᵀ [e_1 … e_n] + b, and an MLP on the embeddings in AutoInt+
    e = embedded(weights, ids, values)
    for layer in range(2):
        e = attend(weights, f"attention.{layer}", e)
    (logit,) = dense(weights, "w", [number for vector in e for number in vector])
    if any(name.startswith("mlp.") for name in weights):
        logit = logit + relu_network(weights, concatenated(weights, ids, values))
    return logit


@pytest.mark.parametrize("hidden_dims", [[], [3]])
def test_the_equation(hidden_dims):
    model, (x, values) = randomize(create(hidden_dims=hidden_dims)), random_input(2)
    assert_equals_loops(model, by_row(equation), x, values)


def test_dropout_of_all_attention_leaves_each_field_alone():
    model = randomize(create(attention_dropout=1.0)).train()
    x, values = random_input()
    e = model.embedding(Batch(x, values))
    for layer in model.attention:
        e = torch.relu(layer.W_Res(e))
    torch.testing.assert_close(model(Batch(x, values)), model.w(e.flatten(1)).squeeze(-1))


def test_as_many_parameters_as_published():
    assert num_params("autoint", FRAPPE_X1) == 306_051
    plus = {"num_attention_layers": 5, "hidden_dims": [400, 400, 400], "batch_norm": True}
    assert num_params("autoint", FRAPPE_X1, **plus) == 622_180 - 5 * 2 * 128  # that one has layer norm


@pytest.mark.parametrize("name", ["num_attention_layers", "num_heads", "head_dim"])
def test_an_empty_part_is_an_error(name):
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        create(**{name: 0})
