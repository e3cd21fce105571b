import math
from collections import Counter
from itertools import combinations

import pytest
import torch
from reference import (
    FIELD_DIMS,
    are_interactions,
    assert_equals_loops,
    attention,
    by_row,
    embedded,
    field_aspect,
    linear_terms,
    products_of,
    random_input,
    randomize,
)

from models import registry
from models.layers.batch import Batch

torch.set_num_threads(1)  # for tensors this small, several threads are slower

SIZES = {"embed_dim": 3, "attention_dim": 2, "field_embed_dim": 2}
PAIRS = range(6)
CHI_SQUARED_999 = {5: 20.515, 14: 36.123}  # by degrees of freedom: a correct sampler exceeds it in one of 1,000 seeds


def create(**settings):
    return registry.create("ifm_sampling", FIELD_DIMS, {**SIZES, "dropout": 0.0, **settings})


def chances(weights, num_sampled):
    # π_p = 1 − exp(−t ‖F_p‖) of each pair, with Σ π_p = c, by bisection over t; the norms are data here
    norms = [float(sum(f.detach() ** 2 for f in row) ** 0.5) for row in field_aspect(weights)]
    low, high = 0.0, 1e6
    for _ in range(200):
        t = (low + high) / 2
        chances = [1 - math.exp(-t * norm) for norm in norms]
        low, high = (t, high) if sum(chances) < num_sampled else (low, t)
    assert sum(chances) == pytest.approx(num_sampled)
    return chances


def equation(drawn, temperature=10.0, placement="logits", num_sampled=None):
    # w_0 + Σ_i w_i x_i + Σ T_p F_pᵀ (V_i ⊙ V_j) x_i x_j over the drawn pairs p = (i, j). T is a softmax over them; with
    # `num_sampled`, it is that of the logits + log π_p: each exponential is times π_p

    def logit(weights, ids, values):
        all_products, F = products_of(embedded(weights, ids, values)), field_aspect(weights)
        products = [all_products[p] for p in drawn]
        there = [are_interactions(values)[p] for p in drawn]
        T = attention(weights, products, temperature, placement, there=there)
        if num_sampled and any(there):
            T = [t * chance for t, chance in zip(T, chances(weights, num_sampled), strict=True)]
            T = [t / sum(T) for t in T]
        total = linear_terms(weights, ids, values)
        for p, t, product in zip(drawn, T, products, strict=True):
            total = total + t * sum(a * b for a, b in zip(F[p], product, strict=True))
        return total

    return by_row(logit)


def probabilities(model):
    # ‖F_p‖ / Σ ‖F‖ of each pair.
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    norms = [float(sum(f**2 for f in row) ** 0.5) for row in field_aspect(weights)]
    return [norm / sum(norms) for norm in norms]


def pairs_seen(model, num_draws):
    """Count how often training draws each pair, with one pair per forward. The output identifies the pair."""
    x, values = random_input(3)
    with torch.no_grad():
        outputs = torch.stack([equation([p])(dict(model.named_parameters()), x, values) for p in PAIRS])
        seen = torch.stack([model.train()(Batch(x, values)) for _ in range(num_draws)])
    distances = (seen[:, None] - outputs).abs().amax(-1)  # [draws, pairs]
    assert ((distances < 1e-9).sum(1) == 1).all()
    return Counter(distances.argmin(1).tolist())


def chi_squared(counts, expected):
    return sum((counts[s] - e) ** 2 / e for s, e in expected.items())


@pytest.mark.parametrize(("temperature", "placement"), [(0.5, "logits"), (10.0, "logits"), (2.0, "hidden")])
@pytest.mark.parametrize("num_sampled", [1, 2, 5])
@pytest.mark.parametrize("zeros", [False, True])
def test_the_equation_in_prediction_weighs_each_pair_by_its_chance(temperature, placement, num_sampled, zeros):
    model = randomize(create(num_sampled=num_sampled, temperature=temperature, temperature_placement=placement))
    assert_equals_loops(model, equation(PAIRS, temperature, placement, num_sampled), *random_input(zeros=zeros))


def test_the_equation_without_values_is_that_of_ones():
    assert_equals_loops(randomize(create(num_sampled=2)), equation(PAIRS, num_sampled=2), random_input()[0])


@pytest.mark.parametrize("num_rows", [4, 400])  # each row's pairs, and shared pairs
def test_kernels_predict_as_the_plain_formulas(num_rows):
    model, ids = randomize(create(num_sampled=2)), random_input(num_rows)[0]
    torch.testing.assert_close(model(Batch(ids, kernels=True)), model(Batch(ids)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("zeros", [False, True])
def test_the_equation_in_training_is_over_the_drawn_pairs(monkeypatch, zeros):
    model = randomize(create(num_sampled=3)).train()
    monkeypatch.setattr(model, "sample", lambda norms: torch.tensor([4, 0, 3]))
    assert_equals_loops(model, equation([0, 3, 4]), *random_input(zeros=zeros))


@pytest.mark.parametrize("num_sampled", [6, 7, 1000])
@pytest.mark.parametrize("training", [True, False])
def test_with_all_pairs_the_model_is_ifm(num_sampled, training):
    model = randomize(create(num_sampled=num_sampled)).train(training)
    ifm = registry.create("ifm", FIELD_DIMS, {**SIZES, "dropout": 0.0}).double().train(training)
    ifm.load_state_dict(model.state_dict())
    x, values = random_input(8)
    output, expected = model(Batch(x, values)), ifm(Batch(x, values))
    torch.testing.assert_close(output, expected, rtol=1e-9, atol=1e-9)
    output.sum().backward()
    expected.sum().backward()
    for mine, theirs in zip(model.parameters(), ifm.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-9, atol=1e-9)


def test_one_pair_is_drawn_in_proportion_to_its_norm():
    model = randomize(create(num_sampled=1))
    torch.manual_seed(0)
    num_draws, P = 1000, probabilities(model)
    counts = pairs_seen(model, num_draws)
    assert chi_squared(counts, {p: num_draws * P[p] for p in PAIRS}) < CHI_SQUARED_999[5]
    squares = sum(probability**2 for probability in P)
    assert chi_squared(counts, {p: num_draws * P[p] ** 2 / squares for p in PAIRS}) > 2 * CHI_SQUARED_999[5]


def test_two_pairs_are_drawn_without_replacement():
    model = randomize(create(num_sampled=2))
    torch.manual_seed(0)
    num_draws, P = 10_000, probabilities(model)
    norms = model.field_aspect().detach().norm(dim=-1)
    counts = Counter(tuple(sorted(model.sample(norms).tolist())) for _ in range(num_draws))
    expected = {
        (p, q): num_draws * (P[p] * P[q] / (1 - P[p]) + P[q] * P[p] / (1 - P[q])) for p, q in combinations(PAIRS, 2)
    }
    assert sum(expected.values()) == pytest.approx(num_draws)
    assert counts.keys() == expected.keys()
    assert chi_squared(counts, expected) < CHI_SQUARED_999[14]


@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
@pytest.mark.parametrize(("num_sampled", "error"), [(1, 0.07), (2, 0.03), (5, 0.03), (9, 0.03), (23, 0.03), (44, 0.08)])
def test_chances_are_the_shares_of_many_draws(spread, num_sampled, error):
    # Frappe's 45 pairs, with norms from nearly equal to spread over several orders of magnitude
    model = registry.create("ifm_sampling", [2] * 10, {**SIZES, "num_sampled": num_sampled})
    generator, num_draws = torch.Generator().manual_seed(0), 20_000
    norms = (spread * torch.randn(45, generator=generator, dtype=torch.float64)).exp()
    torch.manual_seed(1)
    drawn = model.sample(norms.expand(num_draws, -1)).flatten().bincount(minlength=45) / num_draws
    chances = model.chances(norms)
    assert chances.sum() == pytest.approx(num_sampled)
    assert (chances - drawn).abs().max() < error


@pytest.mark.parametrize("num_sampled", [1, 3, 5, 6])
def test_chances_of_pairs_without_norm_are_what_the_others_leave(num_sampled):
    chances = create(num_sampled=num_sampled).chances
    assert chances(torch.zeros(7)).tolist() == pytest.approx([num_sampled / 7] * 7)
    found = chances(torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0])).tolist()
    left = max(0, num_sampled - 3) / 4
    assert found == pytest.approx([1 - max(0, 3 - num_sampled) / 3, left] * 3 + [left], abs=1e-9)
    assert min(found) > 0


def test_a_pair_that_training_never_draws_takes_no_weight():
    model = randomize(create(num_sampled=3)).float()
    with torch.no_grad():
        model.field_aspect.U[3] = 0.0  # no norm for the pairs of the last field, nor an effect
    ids, without = random_input()[0], []
    for changed in (False, True):
        with torch.no_grad():
            model.embedding.weight[9:] *= 1 + changed  # the last field's embeddings
        without.append(model(Batch(ids)) - model.linear(Batch(ids)))
    torch.testing.assert_close(*without)


def test_a_pair_without_weight_is_drawn_last():
    model = create(num_sampled=4)
    norms = torch.tensor([1.0, 0.0, 2.0, 0.1, 0.0, 3.0])
    for seed in range(20):
        torch.manual_seed(seed)
        assert sorted(model.sample(norms).tolist()) == [0, 2, 3, 5]
    assert len(set(create(num_sampled=5).sample(norms).tolist())) == 5


def test_all_rows_of_a_batch_see_the_same_pairs_and_prediction_draws_nothing():
    model = randomize(create(num_sampled=1)).train()
    x, values = (t[:1].expand(50, -1) for t in random_input())
    outputs = model(Batch(x, values))
    torch.testing.assert_close(outputs, outputs[:1].expand(50))
    state = torch.get_rng_state()
    model.eval()(Batch(x, values))
    assert torch.equal(state, torch.get_rng_state())


def test_no_pairs_to_sample_is_an_error():
    with pytest.raises(ValueError, match="num_sampled must be positive, got 0"):
        create(num_sampled=0)
