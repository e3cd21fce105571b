"""Check learning rates that change between epochs, and the limit of a gradient."""

import math

import pytest
import torch
from pydantic import ValidationError

from models.layers.batch import Batch
from pipelines.data.rows import Rows
from pipelines.project.params import TrainingParams
from pipelines.project.settings import CTR, resolve
from pipelines.search.recipes import distinct, first_setting, with_recipes
from pipelines.training.loop import train
from pipelines.training.optimizers.make import make_optimizer
from pipelines.training.recipe import clip_gradient, make_schedule
from pipelines.training.start import new_model
from search_spaces.shared import contains, get_space, paper_setting

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


def test_a_recipe_stands_for_its_keys_and_gives_way_to_those_of_the_setting():
    arguments, training = resolve(
        {"training.recipe": "ctr", "training.patience": 5, "model.embed_dim": 8}, TrainingParams()
    )
    assert arguments == {"embed_dim": 8}
    assert training == TrainingParams(**{**CTR, "patience": 5})
    assert resolve({"training.recipe": "paper"}, training)[1] == training
    with pytest.raises(ValueError, match=r"^training.recipe is 'crt'; choose one of: paper, ctr$"):
        resolve({"training.recipe": "crt"}, training)


def test_a_search_by_several_recipes_has_the_first_setting_of_each():
    own = get_space("dcn")
    assert with_recipes(own, "dcn", "frappe", ["paper"], {})[0] == own
    space, (paper, ctr) = with_recipes(own, "dcn", "frappe", ["paper", "ctr"], {})
    assert paper == {"training.recipe": "paper", **paper_setting("dcn", "frappe")}
    changed = {"recipe": "ctr", "l2": 0.05 * 4096, "learning_rate": 1e-3, "batch_size": 4096}
    assert ctr == {**paper, **{f"training.{key}": value for key, value in changed.items()}}
    assert paper.keys() == space.keys() == own.keys() | {"training.recipe"}
    _, (_, small) = with_recipes(own, "dcn", "frappe", ["paper", "ctr"], {"training.batch_size": 100})
    assert small["training.l2"] == 5
    assert all(contains(space[key], value) for setting in (paper, ctr) for key, value in setting.items())


@pytest.mark.parametrize(
    ("model", "loss", "num_left"),
    [
        ("lookup", "cross_entropy", 1),
        ("catboost", "cross_entropy", 1),
        ("lightgbm", "squared_error", 2),
        ("lr", "cross_entropy", 2),
    ],
)
def test_a_recipe_that_a_model_without_gradients_ignores_starts_no_second_trial(model, loss, num_left):
    _, settings = with_recipes(get_space(model), model, "frappe", ["paper", "ctr"], {})
    other = {**settings[0], **({"model.smoothing": 5.0} if model == "lookup" else {"training.learning_rate": 0.2})}
    left = distinct([*settings, other], model, {}, TrainingParams(loss=loss))
    assert left == [*settings[:num_left], other]


@pytest.mark.parametrize(
    ("model", "l2"), [("fm", 5e-6), ("dnn", 0.05), ("dlrm", 0.1), ("afn", 1e-3), ("mvm", 5e-6), ("nfm", 1e-4)]
)
def test_l2_is_that_of_the_published_log_or_of_models_alike(model, l2):
    first = first_setting("ctr", model, "frappe")
    assert first["training.l2"] == pytest.approx(l2 * 4096)
    assert first.get("model.dropout", 0.0) == 0


def test_the_recipe_ctr_is_the_training_of_fuxictr():
    """Compare with a plain loop: a mean loss, L2 on whole tables, a limited gradient, Adam."""
    torch.manual_seed(0)
    ids = torch.stack([torch.randint(size, (90,)) for size in SCHEMA["field_dims"]], 1) + torch.tensor([0, 20, 35])
    rows = Rows(ids.int(), torch.randint(2, (90,)) * 2.0 - 1)
    size, l2, arguments = 30, 0.05, {"embed_dim": 4, "dropout": 0.0}
    changes = {
        "batch_size": size,
        "l2": size * l2,
        "gradient_clip": size * CTR["gradient_clip"] / CTR["batch_size"],
        "max_epochs": 2,
    }
    setting = {"training.recipe": "ctr", **{f"training.{key}": value for key, value in changes.items()}}
    _, training = resolve(setting, TrainingParams())
    ours, plain = (new_model("fm", SCHEMA, arguments, 1) for _ in range(2))
    torch.manual_seed(5)
    train(ours, rows, rows, training)

    torch.manual_seed(5)
    tables = [plain.linear.weight, plain.embedding.weight]
    adam = torch.optim.Adam(plain.parameters(), lr=1e-3)
    for _ in range(2):
        for batch in torch.randperm(90).split(size):
            adam.zero_grad()
            logits = plain(rows.batch(batch))
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, (rows.labels[batch] + 1) / 2)
            penalty = sum(l2 / 2 * table.square().sum() for table in tables)
            (loss + penalty).backward()
            torch.nn.utils.clip_grad_norm_(plain.parameters(), 10.0)
            adam.step()
    for name, weight in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], weight, rtol=1e-2, atol=1e-5)


def test_the_penalty_of_the_recipe_is_the_same_for_all_families_of_data():
    for model in ("fm", "ifm", "deepfm", "nfm", "dcnv2", "dual_mlp"):
        first, other = (first_setting("ctr", model, family)["training.l2"] for family in ("frappe", "movielens"))
        assert first == other
    assert first_setting("ctr", "ifm", "movielens")["training.l2"] == pytest.approx(5e-6 * 4096)
