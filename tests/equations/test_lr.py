import torch
from reference import FIELD_DIMS, assert_equals_loops, by_row, linear_terms, random_input, randomize

from models import registry
from models.layers.batch import Batch


def test_the_equation():
    model = randomize(registry.create("lr", FIELD_DIMS, {}))
    x, values = random_input()
    assert_equals_loops(model, by_row(linear_terms), x, values)
    assert_equals_loops(randomize(model, 1), by_row(linear_terms), x)


def test_it_starts_at_zero():
    assert registry.create("lr", FIELD_DIMS, {})(Batch(random_input()[0])).tolist() == [0] * 4


def test_a_weight_a_feature_and_one_more():
    with torch.device("meta"):
        model = registry.create("lr", (17045, 23743, 49657), {})
    assert sum(p.numel() for p in model.parameters()) == 90446
