from itertools import combinations

import pytest
import torch
from reference import (
    FIELD_DIMS,
    are_interactions,
    assert_equals_loops,
    attention,
    by_row,
    linear_terms,
    random_input,
    randomize,
)

from models import registry
from models.layers.batch import Batch

SIZES = {"embed_dim": 3, "attention_dim": 2}
K = 3


def create(**settings):
    return registry.create("afm_ffm", FIELD_DIMS, {**SIZES, **settings})


def equation(temperature=1.0):
    # w_0 + Σ_i w_i x_i + pᵀ Σ_{i<j} T_ij (V_{i,f_j} ⊙ V_{j,f_i}) x_i x_j

    def logit(weights, ids, values):
        V = weights["embedding.weight"]
        products = [
            [V[ids[f], g * K + k] * V[ids[g], f * K + k] * values[f] * values[g] for k in range(K)]
            for f, g in combinations(range(len(ids)), 2)
        ]
        total = linear_terms(weights, ids, values)
        for t, product in zip(
            attention(weights, products, temperature, there=are_interactions(values)), products, strict=True
        ):
            total = total + t * sum(p * v for p, v in zip(weights["p"], product, strict=True))
        return total

    return by_row(logit)


@pytest.mark.parametrize("settings", [{}, {"temperature": 10.0}])
def test_the_equation(settings):
    x, values = random_input()
    assert_equals_loops(randomize(create(**settings)), equation(**settings), x, values)
    assert_equals_loops(randomize(create(**settings), 1), equation(**settings), x)
    assert_equals_loops(randomize(create(**settings)), equation(**settings), *random_input(zeros=True))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_with_equal_vectors_for_all_fields_it_is_an_afm(batch_norm):
    settings = {"batch_norm": batch_norm, "dropout": 0.0}
    mine, afm = randomize(create(**settings)), randomize(registry.create("afm", FIELD_DIMS, {**SIZES, **settings}))
    mine.load_state_dict({k: v for k, v in afm.state_dict().items() if k != "embedding.weight"}, strict=False)
    mine.embedding.weight.data = afm.embedding.weight.data.repeat(1, len(FIELD_DIMS))
    x, values = random_input()
    torch.testing.assert_close(mine.train()(Batch(x, values)), afm.train()(Batch(x, values)), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(mine.eval()(Batch(x, values)), afm.eval()(Batch(x, values)), rtol=1e-9, atol=1e-9)


def test_with_even_attention_and_p_of_ones_it_is_an_ffm_divided_by_the_number_of_pairs():
    mine, ffm = randomize(create()), randomize(registry.create("ffm", FIELD_DIMS, {"embed_dim": K}))
    mine.load_state_dict(ffm.state_dict(), strict=False)
    torch.nn.init.zeros_(mine.attention.h)
    torch.nn.init.ones_(mine.p)
    x, values = random_input()
    linear = ffm.linear(Batch(x, values))
    torch.testing.assert_close(
        mine(Batch(x, values)), linear + (ffm(Batch(x, values)) - linear) / 6, rtol=1e-9, atol=1e-9
    )


def test_dropout_leaves_the_attention_as_it_is():
    model = randomize(create(dropout=0.5))
    x, values = (t[:1] for t in random_input())
    expected = model(Batch(x, values))
    drawn = model.train()(Batch(x.expand(20_000, -1), values.expand(20_000, -1)))
    assert drawn.std() > 0
    assert abs(drawn.mean() - expected) < 5 * drawn.std() / 20_000**0.5


def test_it_starts_as_afm_and_ffm_do():
    model = registry.create("afm_ffm", (40, 50, 30), {})
    assert torch.equal(model.p, torch.ones(256))
    assert abs(model.embedding.weight.mean()) < 2e-4
    assert abs(model.embedding.weight.std() - 0.01) < 2e-4
    assert abs(model.attention.W.std() / (2 / 512) ** 0.5 - 1) < 0.02


def test_the_number_of_parameters():
    with torch.device("meta"):
        model = registry.create("afm_ffm", (17045, 23743, 49657), {"attention_dim": 8})
    assert sum(p.numel() for p in model.parameters()) == 69_552_206 + 256 * 8 + 2 * 8 + 256  # FFM and the attention
