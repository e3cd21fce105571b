from itertools import combinations

import pytest
import torch
from reference import FIELD_DIMS, assert_equals_loops, by_row, linear_terms, random_input, randomize

from models import registry
from models.hofm import anova
from models.layers.batch import Batch


def create(field_dims=FIELD_DIMS, **settings):
    return registry.create("hofm", field_dims, {"embed_dim": 3, **settings})


def equation(max_order):
    # w_0 + Σ_i w_i x_i + Σ_{i<j} Σ_k V²_ik V²_jk x_i x_j + Σ_{i<j<l} Σ_k V³_ik V³_jk V³_lk x_i x_j x_l

    def logit(weights, ids, values):
        total = linear_terms(weights, ids, values)
        for order in range(2, max_order + 1):
            V = weights[f"embedding.{order - 2}.weight"]
            for columns in combinations(range(len(ids)), order):
                for k in range(V.shape[1]):
                    term = 1.0
                    for column in columns:
                        term = term * V[ids[column], k] * values[column]
                    total = total + term
        return total

    return by_row(logit)


@pytest.mark.parametrize("order", [2, 3])
def test_the_equation(order):
    x, values = random_input()
    assert_equals_loops(randomize(create(order=order)), equation(order), x, values)
    assert_equals_loops(randomize(create(order=order), 1), equation(order), x)


@pytest.mark.parametrize("field_dims", [(3, 4, 5), (2,) * 9])
def test_the_equation_for_any_number_of_fields(field_dims):
    x, values = random_input(3, field_dims)
    assert_equals_loops(randomize(create(field_dims)), equation(3), x, values)


def test_of_two_fields_it_has_no_triples():
    model, (x, values) = randomize(create((3, 4))), random_input(field_dims=(3, 4))
    expected = equation(2)(dict(model.named_parameters()), x, values)
    torch.testing.assert_close(model(Batch(x, values)), expected, rtol=1e-9, atol=1e-9)


def test_of_order_2_it_is_an_fm():
    hofm, fm = randomize(create(order=2)), randomize(registry.create("fm", FIELD_DIMS, {"embed_dim": 3}))
    fm.load_state_dict({key.replace("embedding.0.", "embedding."): value for key, value in hofm.state_dict().items()})
    x, values = random_input()
    torch.testing.assert_close(hofm(Batch(x, values)), fm(Batch(x, values)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_kernel_of_ones_counts_the_sets_of_features(order):
    count = len(list(combinations(range(6), order)))
    assert torch.equal(anova(torch.ones(2, 6, 1), order), torch.full((2, 1), float(count)))


def test_dropout_takes_from_the_interactions_only():
    model, (x, values) = randomize(create(dropout=1.0)), random_input()
    torch.testing.assert_close(model.train()(Batch(x, values)), model.linear(Batch(x, values)))


@pytest.mark.parametrize("order", [1, 4])
def test_orders_are_2_and_3(order):
    with pytest.raises(ValueError, match=f"hofm: order must be 2 or 3, got {order}"):
        create(order=order)


def test_each_order_starts_with_factors_of_its_own():
    model = create((400, 500), embed_dim=64)
    second, third = (embedding.weight for embedding in model.embedding)
    assert not torch.equal(second, third)
    for weight in (second, third):
        assert abs(weight.mean()) < 3e-4
        assert abs(weight.std() - 0.01) < 3e-4


def test_the_number_of_parameters():
    with torch.device("meta"):
        model = registry.create("hofm", (957, 4425), {})
    assert sum(p.numel() for p in model.parameters()) == 2 * 5382 * 256 + 5382 + 1
