from collections import Counter
from itertools import combinations

import pytest
import torch
from reference import (
    FIELD_DIMS,
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


def equation(drawn, temperature=10.0, placement="logits"):
    # w_0 + Σ_i w_i x_i + Σ T_p F_pᵀ (V_i ⊙ V_j) x_i x_j over the drawn pairs p = (i, j); T is a softmax over them

    def logit(weights, ids, values):
        all_products, F = products_of(embedded(weights, ids, values)), field_aspect(weights)
        products = [all_products[p] for p in drawn]
        T = attention(weights, products, temperature, placement)
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
def test_the_equation_in_prediction_is_that_of_ifm(temperature, placement):
    model = randomize(create(num_sampled=2, temperature=temperature, temperature_placement=placement))
    assert_equals_loops(model, equation(PAIRS, temperature, placement), *random_input())


def test_the_equation_without_values_is_that_of_ones():
    assert_equals_loops(randomize(create(num_sampled=2)), equation(PAIRS), random_input()[0])


def test_the_equation_in_training_is_over_the_drawn_pairs(monkeypatch):
    model = randomize(create(num_sampled=3)).train()
    monkeypatch.setattr(model, "sample", lambda norms: torch.tensor([4, 0, 3]))
    assert_equals_loops(model, equation([0, 3, 4]), *random_input())


@pytest.mark.parametrize("num_sampled", [6, 7, 1000])
def test_with_all_pairs_training_is_that_of_ifm(num_sampled):
    model = randomize(create(num_sampled=num_sampled)).train()
    ifm = registry.create("ifm", FIELD_DIMS, {**SIZES, "dropout": 0.0}).double().train()
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
