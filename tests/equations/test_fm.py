from itertools import combinations

import pytest
import torch
from reference import FIELD_DIMS, assert_equals_loops, by_row, embedded, linear_terms, random_input, randomize

from models import registry
from models.layers.batch import Batch

FRAPPE = (957, 4082, 7, 7, 2, 3, 2, 9, 80, 233)
MOVIELENS = (17045, 23743, 49657)


def create(**settings):
    return registry.create("fm", FIELD_DIMS, {"embed_dim": 3, **settings})


def equation(weights, ids, values):
    # w_0 + Σ_i w_i x_i + Σ_{i<j} ⟨V_i, V_j⟩ x_i x_j
    total, V = linear_terms(weights, ids, values), weights["embedding.weight"]
    for i, j in combinations(range(len(ids)), 2):
        for k in range(V.shape[1]):
            total = total + V[ids[i], k] * V[ids[j], k] * values[i] * values[j]
    return total


def test_the_equation():
    x, values = random_input()
    assert_equals_loops(randomize(create()), by_row(equation), x, values)
    assert_equals_loops(randomize(create(), 1), by_row(equation), x)


def test_batch_norm_normalises_the_pooled_interactions():
    model = randomize(create(batch_norm=True, dropout=0.0)).train()
    x, values = random_input(num_rows=5)

    def loops(weights, x, values):
        rows = list(zip(x.tolist(), values, strict=True))
        logits = [linear_terms(weights, ids, row) for ids, row in rows]
        for k in range(3):
            pooled = []
            for ids, row in rows:
                vectors = embedded(weights, ids, row)
                pooled.append(sum(a[k] * b[k] for a, b in combinations(vectors, 2)))
            mean = sum(pooled) / 5
            deviation = (sum((p - mean) ** 2 for p in pooled) / 5 + 1e-5).sqrt()
            gain, shift = weights["batch_norm.weight"][k], weights["batch_norm.bias"][k]
            logits = [logit + gain * (p - mean) / deviation + shift for logit, p in zip(logits, pooled, strict=True)]
        return torch.stack(logits)

    assert_equals_loops(model, loops, x, values)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_dropout_is_last_takes_from_the_interactions_only_and_only_in_training(batch_norm):
    model = randomize(create(dropout=1.0, batch_norm=batch_norm))
    x, values = random_input()
    whole = model(Batch(x, values))
    torch.testing.assert_close(model.train()(Batch(x, values)), model.linear(Batch(x, values)))
    assert (whole - model.linear(Batch(x, values))).abs().min() > 1e-3


def test_dropout_leaves_the_mean_as_it_is():
    model = randomize(create(dropout=0.3))
    x, values = (t[:1] for t in random_input())
    expected = model(Batch(x, values))
    drawn = model.train()(Batch(x.expand(20_000, -1), values.expand(20_000, -1)))
    assert drawn.std() > 0
    assert abs(drawn.mean() - expected) < 5 * drawn.std() / 20_000**0.5


@pytest.mark.parametrize(("field_dims", "expected"), [(FRAPPE, 1_383_175), (MOVIELENS, 23_244_366)])
def test_as_many_parameters_as_in_the_paper(field_dims, expected):
    with torch.device("meta"):
        model = registry.create("fm", field_dims, {"embed_dim": 256})
    m = sum(field_dims)
    assert sum(p.numel() for p in model.parameters()) == m * 256 + m + 1 == expected
