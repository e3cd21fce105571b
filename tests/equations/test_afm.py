import pytest
import torch
from reference import (
    FIELD_DIMS,
    are_interactions,
    assert_equals_loops,
    attention,
    by_row,
    embedded,
    linear_terms,
    products_of,
    random_input,
    randomize,
)

from models import registry
from models.layers.batch import Batch

FRAPPE = (957, 4082, 7, 7, 2, 3, 2, 9, 80, 233)
MOVIELENS = (17045, 23743, 49657)
SIZES = {"embed_dim": 3, "attention_dim": 2}


def create(**settings):
    return registry.create("afm", FIELD_DIMS, {**SIZES, **settings})


def pooled(weights, ids, values, temperature=1.0):
    # Σ_{i<j} T_ij (V_i ⊙ V_j) x_i x_j, as a list of numbers
    products = products_of(embedded(weights, ids, values))
    T = attention(weights, products, temperature, there=are_interactions(values))
    return [sum(t * product[k] for t, product in zip(T, products, strict=True)) for k in range(3)]


def equation(temperature=1.0):
    # w_0 + Σ_i w_i x_i + pᵀ Σ_{i<j} T_ij (V_i ⊙ V_j) x_i x_j

    def logit(weights, ids, values):
        vector = pooled(weights, ids, values, temperature)
        return linear_terms(weights, ids, values) + sum(p * v for p, v in zip(weights["p"], vector, strict=True))

    return by_row(logit)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_inert_attention_gives_each_interaction_the_weight_1(batch_norm):
    inert = randomize(create(inert_attention=True, batch_norm=batch_norm, dropout=0.0)).train()
    even = randomize(create(batch_norm=batch_norm, dropout=0.0)).train()
    even.attention.forward = lambda V, *rest: torch.ones(len(x), 6, dtype=torch.float64)  # type: ignore[method-assign]
    even.attention.softmax = lambda logits, *rest: torch.ones_like(logits)  # type: ignore[method-assign]
    x, values = random_input(num_rows=5)
    assert torch.allclose(inert(Batch(x, values)), even(Batch(x, values)))
    inert(Batch(x, values)).sum().backward()
    assert all(weight.grad is None for weight in inert.attention.parameters())


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.5}, {"temperature": 10.0}])
def test_the_equation(settings):
    x, values = random_input()
    assert_equals_loops(randomize(create(**settings)), equation(**settings), x, values)
    assert_equals_loops(randomize(create(**settings), 1), equation(**settings), x)
    assert_equals_loops(randomize(create(**settings)), equation(**settings), *random_input(zeros=True))


@pytest.mark.parametrize("zeros", [False, True])
def test_batch_norm_normalises_the_pooled_interactions(zeros):
    model = randomize(create(batch_norm=True, dropout=0.0)).train()

    def loops(weights, x, values):
        rows = list(zip(x.tolist(), values, strict=True))
        vectors = [pooled(weights, ids, row) for ids, row in rows]
        logits = [linear_terms(weights, ids, row) for ids, row in rows]
        for k in range(3):
            mean = sum(vector[k] for vector in vectors) / 5
            deviation = (sum((vector[k] - mean) ** 2 for vector in vectors) / 5 + 1e-5).sqrt()
            gain, shift, p = weights["batch_norm.weight"][k], weights["batch_norm.bias"][k], weights["p"][k]
            logits = [
                logit + p * (gain * (vector[k] - mean) / deviation + shift)
                for logit, vector in zip(logits, vectors, strict=True)
            ]
        return torch.stack(logits)

    assert_equals_loops(model, loops, *random_input(num_rows=5, zeros=zeros))


def test_with_even_attention_and_p_of_ones_it_is_an_fm_divided_by_the_number_of_pairs():
    afm, fm = randomize(create()), randomize(registry.create("fm", FIELD_DIMS, {"embed_dim": 3}))
    afm.load_state_dict(fm.state_dict(), strict=False)
    torch.nn.init.zeros_(afm.attention.h)
    torch.nn.init.ones_(afm.p)
    x, values = random_input()
    linear = fm.linear(Batch(x, values))
    torch.testing.assert_close(
        afm(Batch(x, values)), linear + (fm(Batch(x, values)) - linear) / 6, rtol=1e-9, atol=1e-9
    )


def test_dropout_takes_all_interactions_or_none():
    model, (x, values) = randomize(create(dropout=1.0)), random_input()
    torch.testing.assert_close(model.train()(Batch(x, values)), model.linear(Batch(x, values)))


def test_the_attention_sees_the_interactions_before_dropout():
    model = randomize(create(dropout=0.5))
    x, values = (t[:1] for t in random_input())
    expected = model(Batch(x, values))
    drawn = model.train()(Batch(x.expand(20_000, -1), values.expand(20_000, -1)))
    assert len(drawn.unique()) > 2**6  # pairs are dropped, not coordinates of the pooled vector
    assert abs(drawn.mean() - expected) < 5 * drawn.std() / 20_000**0.5  # linear in what is dropped


def test_it_starts_as_in_the_released_code():
    model = registry.create("afm", (400, 500), {})
    attention, scale = model.attention, (2 / 512) ** 0.5
    assert torch.equal(model.p, torch.ones(256))
    assert not model.linear.weight.any()
    for weight, std in ((model.embedding.weight, 0.01), (attention.W, scale)):
        assert abs(weight.mean()) < std * 0.02
        assert abs(weight.std() / std - 1) < 0.02
    for weight, std in ((attention.b, scale), (attention.h, 1)):
        assert abs(weight.mean()) < std * 0.3
        assert abs(weight.std() / std - 1) < 0.2


@pytest.mark.parametrize(
    ("field_dims", "attention_dim", "expected"), [(FRAPPE, 256, 1_449_479), (MOVIELENS, 8, 23_246_686)]
)
def test_as_many_parameters_as_in_the_paper(field_dims, attention_dim, expected):
    with torch.device("meta"):
        model = registry.create("afm", field_dims, {"attention_dim": attention_dim})
    m = sum(field_dims)
    formula = m * 256 + m + 1 + 256 * attention_dim + 2 * attention_dim + 256
    assert sum(p.numel() for p in model.parameters()) == formula == expected
