"""Check learning rates that change between epochs, and the limit of a gradient."""

import math

import pytest
import torch
from pydantic import ValidationError

from models.layers.batch import Batch
from pipelines.project.params import TrainingParams
from pipelines.training.optimizers import make_optimizer
from pipelines.training.recipe import clip_gradient, make_schedule
from pipelines.training.start import new_model

torch.set_num_threads(1)  # for tensors this small, several threads are slower

SCHEMA = {"field_dims": [20, 15, 5], "fields": ["user", "item", "city"]}


def rates(scores, **changes):
    """Return the learning rate of each epoch, given the scores after the epochs."""
    training = TrainingParams(learning_rate=0.5, **changes)
    optimizer = make_optimizer(new_model("lr", SCHEMA, {}, 0), training)
    schedule, seen = make_schedule(optimizer, training), []
    for score in scores:
        (rate,) = {group["lr"] for group in optimizer.param_groups}
        seen.append(rate)
        optimizer.step()
        schedule(score)
    return seen


def test_a_rate_is_constant_unless_it_is_asked_for():
    assert rates([3, 4, 5, 6]) == [0.5] * 4


def test_a_plateau_cuts_the_rate_after_each_row_of_epochs_without_a_better_one():
    scores = [3, 2, 2, 2.5, 1, 1, 1, 1]
    asked = {"lr_schedule": "plateau", "lr_factor": 0.1, "lr_floor": 0.001}
    assert rates(scores, **asked) == pytest.approx([0.5, 0.5, 0.5, 0.05, 0.005, 0.005, 0.001, 0.001])
    assert rates(scores, **asked, lr_patience=2) == pytest.approx([0.5] * 4 + [0.05] * 3 + [0.005])


def test_a_cosine_falls_to_the_floor_within_all_epochs():
    expected = [0.1 + 0.4 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]
    assert rates([1] * 4, lr_schedule="cosine", lr_floor=0.1, max_epochs=4) == pytest.approx(expected)


@pytest.mark.parametrize("kernels", ["fast", "plain"])
def test_a_gradient_is_scaled_to_the_limit_and_a_smaller_one_is_left(kernels):
    model = new_model("fm", SCHEMA, {"embed_dim": 4, "dropout": 0.1}, 0)
    ids = torch.stack([torch.arange(64) % size for size in SCHEMA["field_dims"]], 1) + torch.tensor([0, 20, 35])
    batch = Batch(ids.int(), kernels=kernels == "fast")
    gradients = []
    for largest in (1e9, 0.5):
        model.zero_grad()
        torch.manual_seed(3)
        (model(batch) - 3).square().sum().backward()
        clip_gradient(model, largest)
        dense = [p.grad.to_dense() if p.grad.is_sparse else p.grad for p in model.parameters()]
        gradients.append(torch.cat([each.flatten() for each in dense]))
    whole, clipped = gradients
    assert whole.norm() > 0.5
    torch.testing.assert_close(clipped, whole * 0.5 / whole.norm())


def test_defaults_stand_in_no_dump_so_that_older_studies_keep_their_names():
    known = {"lr_schedule", "lr_factor", "lr_patience", "lr_floor", "gradient_clip", "num_workers"}
    assert not known & TrainingParams().model_dump().keys()
    changed = TrainingParams(lr_schedule="plateau", lr_patience=3, gradient_clip=10.0).model_dump()
    assert known & changed.keys() == {"lr_schedule", "lr_patience", "gradient_clip"}


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"lr_factor": 0.5}, "lr_factor is 0.5, but lr_schedule constant has none"),
        ({"lr_schedule": "cosine", "lr_patience": 2}, "lr_patience is 2, but lr_schedule cosine has none"),
        ({"lr_floor": 1e-3}, "lr_floor is 0.001, but lr_schedule constant has none"),
    ],
)
def test_a_key_that_the_schedule_does_not_take_is_named(given, key):
    with pytest.raises(ValidationError, match=key):
        TrainingParams(**given)
