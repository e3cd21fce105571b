"""Check how the strength of a pair of fields is measured."""

import pytest
import torch
from torch import nn

from pipelines.data.rows import Rows
from pipelines.evaluation.interactions import MOST_FIELDS, interactions

SIZES = (5, 4, 3)


class Planted(nn.Module):
    """Add what each field does alone, and the product of the first two fields' effects."""

    def __init__(self, strength):
        super().__init__()
        self.effects = nn.Parameter(torch.randn(sum(SIZES), generator=torch.Generator().manual_seed(1)))
        self.strength = strength

    def forward(self, batch):
        x = self.effects[batch.ids] if batch.values is None else self.effects[batch.ids] * batch.values
        return x.sum(-1) + self.strength * x[:, 0] * x[:, 1]


def rows(values=False):
    generator = torch.Generator().manual_seed(2)
    ids = torch.stack([torch.randint(size, (4000,), generator=generator) for size in SIZES], dim=1)
    shift = torch.tensor([0, SIZES[0], SIZES[0] + SIZES[1]])
    given = torch.rand(ids.shape, generator=generator) if values else None
    return Rows((ids + shift).int(), torch.ones(4000), given)


@pytest.mark.parametrize("values", [False, True])
def test_only_the_planted_pair_counts_and_twice_as_strong_counts_twice(values):
    once, twice = (interactions(Planted(strength), rows(values), ["a", "b", "c"], seed=3) for strength in (1, 2))
    assert list(once) == ["a-b", "a-c", "b-c"]
    assert once["a-b"] > 0.1
    assert once["a-c"] == pytest.approx(0, abs=1e-5)
    assert once["b-c"] == pytest.approx(0, abs=1e-5)
    assert twice["a-b"] == pytest.approx(2 * once["a-b"], rel=1e-4)


def test_the_measure_is_the_spread_of_what_two_independent_effects_do_together():
    model, drawn = Planted(1.0), rows()
    x = model.effects.detach()[drawn.features.long()]
    expected = 2 * x[:, 0].std() * x[:, 1].std()  # E (x − x')² (y − y')² = 4 var x var y
    found = interactions(model, drawn, ["a", "b", "c"], seed=3)["a-b"]
    assert found == pytest.approx(expected.item(), rel=0.15)


def test_too_many_fields_are_left_out():
    assert interactions(Planted(1.0), rows(), [f"f{number}" for number in range(MOST_FIELDS + 1)], seed=3) == {}
