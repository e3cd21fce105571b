import pytest
import torch
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
    relu_layers,
    softmax,
)

from models import registry
from models.layers.batch import Batch


def create(**settings):
    sizes = {"embed_dim": 3, "hidden_dims": [4, 3], "batch_norm": False}
    return registry.create("input_aware_fm", FIELD_DIMS, {**sizes, **settings})


def row(weights, ids, values):
    # w_0 + Σ_i m_i w_i x_i + Σ_{i<j} ⟨m_i V_i, m_j V_j⟩ x_i x_j, m = n softmax(P h)
    logits = dense(weights, "P", relu_layers(weights, concatenated(weights, ids, values), "hidden."))
    m = [len(ids) * share for share in softmax(logits, [True] * len(ids))]
    total = weights["linear.bias"]
    for factor, i, x in zip(m, ids, values, strict=True):
        total = total + factor * weights["linear.weight"][i] * x
    V = embedded(weights, ids, values)
    for i in range(len(ids)):
        for j in range(i + 1, len(ids)):
            total = total + m[i] * m[j] * dot(V[i], V[j])
    return total


def test_the_equation():
    model, (x, values) = randomize(create()), random_input()
    assert_equals_loops(model, by_row(row), x, values)
    assert_all_reached(model)
    assert_equals_loops(model, by_row(row), x)


def test_without_a_preference_for_a_field_it_is_an_fm():
    model = randomize(create())
    with torch.no_grad():
        model.P.weight.zero_()
    fm = registry.create("fm", FIELD_DIMS, {"embed_dim": 3}).double().eval()
    fm.load_state_dict({key: value for key, value in model.state_dict().items() if key in fm.state_dict()})
    batch = Batch(*random_input())
    torch.testing.assert_close(model(batch), fm(batch))


def test_dropout_of_all_interactions_leaves_the_weighed_linear_terms():
    model = randomize(create(dropout=1.0, mlp_dropout=0.0)).train()
    batch = Batch(*random_input())
    m = 4 * model.P(model.hidden(model.embedding(batch))).softmax(-1)
    torch.testing.assert_close(model(batch), model.linear.bias + (m * model.linear.terms(batch)).sum(-1))


def test_as_many_parameters_as_in_the_authors_code():
    features = 5382 * 257 + 1  # embeddings, weights and w_0
    network = 2560 * 512 + 512 * 258 + 258 * 128 + 512 + 258 + 128 + 128 * 10
    batch_norm = 2 * (512 + 258 + 128)
    assert num_params("input_aware_fm", [5382 - 9, *[1] * 9]) == features + network + batch_norm


def test_a_network_without_hidden_layers_is_an_error():
    with pytest.raises(ValueError, match="len_hidden_dims must be positive, got 0"):
        create(hidden_dims=[])
