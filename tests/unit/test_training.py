import dataclasses
import math
import mmap
import subprocess
import sys

import pytest
import torch

from models.layers.batch import Batch
from pipelines.data.rows import Rows
from pipelines.project.metric import METRICS
from pipelines.project.params import TrainingParams
from pipelines.training import predicting, process
from pipelines.training.epochs import best_epoch
from pipelines.training.loop import batches, train
from pipelines.training.loss import summed_loss
from pipelines.training.predicting import evaluate, predict
from pipelines.training.start import new_model, num_params

torch.set_num_threads(1)  # for tensors this small, several threads are slower

SCHEMA = {"field_dims": [20, 15, 5], "fields": ["user", "item", "city"]}
SIZES = {
    "lr": {},
    "fm": {"embed_dim": 4, "dropout": 0.1},
    "ifm": {"embed_dim": 4, "attention_dim": 3, "field_embed_dim": 2},
    "inn": {"embed_dim": 4, "attention_dim": 3, "field_embed_dim": 2},
}
LOSSES = ["squared_error", "cross_entropy"]


def random_rows(num_rows, seed, noise=0.5, values=False):
    """Draw rows whose labels depend on user, item and noise."""
    truth = torch.Generator().manual_seed(99)
    users, items = torch.randn(20, 2, generator=truth), torch.randn(15, 2, generator=truth)
    generator = torch.Generator().manual_seed(seed)
    columns = [torch.randint(size, (num_rows,), generator=generator) for size in SCHEMA["field_dims"]]
    score = (users[columns[0]] * items[columns[1]]).sum(1) + noise * torch.randn(num_rows, generator=generator)
    features = (torch.stack(columns, 1) + torch.tensor([0, 20, 35])).int()
    drawn = torch.rand(features.shape, generator=generator) * 2 if values else None
    return Rows(features, torch.where(score > 0, 1.0, -1.0), drawn)


TRAIN, VALID = random_rows(400, 0), random_rows(150, 1)


def fit(name, seed=0, rows=TRAIN, valid=VALID, **changes):
    """Train a model, and return it with all epochs."""
    settings = {"learning_rate": 0.1, "batch_size": 64, "max_epochs": 5, "patience": 100, **changes}
    model = new_model(name, SCHEMA, SIZES[name], seed)
    return model, train(model, rows, valid, TrainingParams(**settings))


def curve(epochs):
    return [{key: value for key, value in epoch.row().items() if key != "seconds"} for epoch in epochs]


def weights(model):
    return {key: value.cpu().clone() for key, value in model.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", SIZES)
def test_it_learns(name, loss):
    model, epochs = fit(name, loss=loss, max_epochs=8)
    assert [epoch.epoch for epoch in epochs] == list(range(1, 9))
    losses = [epoch.train_loss for epoch in epochs]
    assert losses[-1] < (0.95 if name == "lr" else 0.9) * losses[0]
    assert all(epoch.seconds > 0 for epoch in epochs)
    assert evaluate(model, TRAIN, loss)["auc"] > 0.6


@pytest.mark.parametrize("optimizer", ["adagrad", "adam", "lazy_adam", "ftrl"])
def test_it_learns_with_each_optimizer(optimizer):
    _, epochs = fit("fm", optimizer=optimizer, max_epochs=12, learning_rate=0.1)
    assert epochs[-1].train_loss < 0.9 * epochs[0].train_loss


def test_the_summed_loss_is_half_the_squared_error_or_the_cross_entropy():
    logits, labels = torch.tensor([0.5, -2.0, 3.0]), torch.tensor([1.0, 1.0, -1.0])
    squared = sum((y - p) ** 2 for p, y in zip(logits.tolist(), labels.tolist(), strict=True)) / 2
    entropy = sum(math.log(1 + math.exp(-p * y)) for p, y in zip(logits.tolist(), labels.tolist(), strict=True))
    assert summed_loss(logits, labels, "squared_error").item() == pytest.approx(squared)
    assert summed_loss(logits, labels, "cross_entropy").item() == pytest.approx(entropy)
    extreme = summed_loss(torch.tensor([-200.0]), torch.ones(1), "cross_entropy")
    assert extreme.item() == pytest.approx(200)


@pytest.mark.parametrize(("loss", "expected"), [("squared_error", 0.5), ("cross_entropy", math.log(2))])
def test_the_train_loss_is_a_mean_over_rows_without_the_penalty(loss, expected):
    _, epochs = fit("lr", loss=loss, batch_size=1000, max_epochs=1, l2=100.0)  # one step: all logits are zero
    assert epochs[0].train_loss == pytest.approx(expected, rel=1e-6)
    _, epochs = fit("lr", loss=loss, batch_size=7, max_epochs=1, learning_rate=1e-12)
    assert epochs[0].train_loss == pytest.approx(expected, rel=1e-4)


def test_the_penalty_weighs_against_the_sum_over_a_batch():
    rows = Rows(torch.tensor([[0, 20, 35]] * 4 + [[1, 20, 35]] * 4).int(), torch.tensor([1.0] * 4 + [-1.0] * 4))
    settings = TrainingParams(l2=4.0, batch_size=8, max_epochs=200, patience=200, optimizer="adam", learning_rate=0.02)
    model = new_model("lr", SCHEMA, {}, 0)
    last = {}
    train(model, rows, rows, settings, lambda _: last.update(weights(model)))
    # by symmetry w_0 = w_20 = w_35 = 0; 4 · ½ (w − 1)² + 4 · ½ w² has its minimum at ½
    assert last["linear.weight"][[0, 1, 20]].tolist() == pytest.approx([0.5, -0.5, 0], abs=0.01)


def overfitting(**changes):
    """Return arguments of a run that overfits early, because labels are noise."""
    return {"rows": random_rows(60, 5, noise=100.0), "valid": random_rows(200, 6, noise=100.0), **changes}


@pytest.mark.parametrize(("name", "metric"), [*(("fm", metric) for metric in METRICS), ("inn", "rmse")])
def test_the_best_epochs_weights_are_left(name, metric):
    changes = overfitting(metric=metric, max_epochs=25)
    changes["valid"] = dataclasses.replace(changes["valid"], groups=changes["valid"].features[:, 1])
    model, epochs = fit(name, **changes)
    scores = [epoch.valid.score(metric) for epoch in epochs]
    first_best = scores.index(min(scores))
    assert first_best < 24
    assert best_epoch(epochs, metric) is epochs[first_best]
    names = epochs[first_best].valid
    assert metric in names
    assert evaluate(model, changes["valid"], "squared_error", names=names) == epochs[first_best].valid


def test_the_best_epochs_weights_are_left_when_the_caller_ends_the_run():
    changes = overfitting()
    model = new_model("fm", SCHEMA, SIZES["fm"], 0)
    settings = TrainingParams(learning_rate=0.1, batch_size=16, max_epochs=50, patience=50)
    last = {}

    def end(epoch):
        last.update(weights(model))
        return epoch.epoch == 25

    seen = train(model, changes["rows"], changes["valid"], settings, end)
    assert len(seen) == 25
    assert best_epoch(seen, "rmse").epoch < 25
    assert not same(weights(model), last)
    assert evaluate(model, changes["valid"], "squared_error") == best_epoch(seen, "rmse").valid


def test_patience_is_how_many_epochs_without_a_better_one_it_takes():
    for patience in (1, 3, 6):
        _, epochs = fit("fm", **overfitting(patience=patience, max_epochs=200))
        assert len(epochs) == best_epoch(epochs, "rmse").epoch + patience


@pytest.mark.parametrize("metric", ["rmse", "auc"])
def test_an_epoch_that_is_no_better_cuts_the_rate_of_the_next(metric):
    changes = overfitting(metric=metric, max_epochs=40)
    _, constant = fit("fm", **changes)
    _, cut = fit("fm", **changes, lr_schedule="plateau", lr_factor=1e-9)
    scores = [epoch.valid.score(metric) for epoch in constant]
    first_worse = next(n for n in range(1, 40) if scores[n] >= min(scores[:n]))
    assert curve(cut)[: first_worse + 1] == curve(constant)[: first_worse + 1]
    assert cut[-1].valid == pytest.approx(cut[first_worse].valid, abs=1e-6)  # with no rate left
    assert constant[-1].valid != pytest.approx(constant[first_worse].valid, abs=1e-3)


def test_the_limit_holds_in_each_step_with_and_without_kernels():
    curves = [
        curve(fit("fm", gradient_clip=limit, kernels=kernels, max_epochs=3, optimizer="ftrl")[1])
        for limit, kernels in ((2.0, "fast"), (2.0, "plain"), (None, "fast"))
    ]
    for fast, plain in zip(*curves[:2], strict=True):
        assert fast == pytest.approx(plain, rel=1e-4)
    assert curves[0] != curves[2]


def test_an_equal_score_is_no_better_one():
    _, epochs = fit("lr", learning_rate=1e-20, patience=2, max_epochs=50)
    assert len(epochs) == 3
    assert best_epoch(epochs, "rmse").epoch == 1


def test_max_epochs_ends_it():
    assert len(fit("fm", max_epochs=3)[1]) == 3
    assert len(fit("fm", max_epochs=1)[1]) == 1


@pytest.mark.parametrize("name", SIZES)
def test_the_same_seed_gives_the_same_curve_bit_for_bit(name):
    (first, first_epochs), (second, second_epochs), (other, other_epochs) = (
        fit(name, seed, max_epochs=2) for seed in (7, 7, 8)
    )
    assert curve(first_epochs) == curve(second_epochs)
    assert same(weights(first), weights(second))
    assert curve(first_epochs) != curve(other_epochs)
    assert not same(weights(first), weights(other))


def test_an_epoch_takes_each_row_once_in_an_order_of_its_own(monkeypatch):
    taken = []
    batch = Rows.batch

    def spy(rows, which, kernels):
        taken.extend(which.tolist() if isinstance(which, torch.Tensor) else [])
        return batch(rows, which, kernels)

    monkeypatch.setattr(Rows, "batch", spy)
    fit("lr", batch_size=64, max_epochs=2)
    first, second = taken[:400], taken[400:]
    assert sorted(first) == sorted(second) == list(range(400))
    assert first != second
    assert first != sorted(first)


@pytest.mark.parametrize(
    ("num_rows", "batch_size", "sizes"),
    [
        (12, 4, [4, 4, 4]),
        (11, 4, [4, 4, 3]),
        (10, 4, [4, 4, 2]),
        (9, 4, [4, 5]),
        (5, 4, [5]),
        (3, 4, [3]),
        (4, 4, [4]),
        (1, 4, [1]),
        (3, 2, [3]),
        (3, 1, [1, 1, 1]),
        (1, 1, [1]),
        (0, 4, []),
    ],
)
def test_a_last_batch_of_one_row_joins_the_one_before(num_rows, batch_size, sizes):
    order = torch.randperm(num_rows, generator=torch.Generator().manual_seed(0))
    taken = list(batches(order, batch_size))
    assert [len(batch) for batch in taken if len(batch)] == sizes
    assert [row for batch in taken for row in batch.tolist()] == order.tolist()


@pytest.mark.parametrize("kernels", ["fast", "plain"])
def test_batch_norm_trains_when_one_row_is_left_over(kernels):
    model = new_model("fm", SCHEMA, {"embed_dim": 4, "batch_norm": True}, 0)
    rows = random_rows(65, 0)
    (epoch,) = train(model, rows, VALID, TrainingParams(batch_size=16, max_epochs=1, kernels=kernels))
    assert math.isfinite(epoch.train_loss)


def test_kernels_are_used_unless_they_are_switched_off(monkeypatch):
    batch, seen = Rows.batch, set()
    monkeypatch.setattr(Rows, "batch", lambda rows, which, kernels: seen.add(kernels) or batch(rows, which, kernels))
    for kernels, expected in (("fast", {True}), ("plain", {False})):
        seen.clear()
        fit("fm", max_epochs=1, kernels=kernels)
        assert seen == expected


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("metric", ["rmse", "auc"])
def test_a_loss_that_is_not_finite_is_an_error(loss, metric):
    with pytest.raises(FloatingPointError, match=r"not finite in epoch 1: lower training.learning_rate"):
        fit("fm", loss=loss, metric=metric, learning_rate=1e30, batch_size=16)


def test_values_are_used():
    rows, valid = random_rows(400, 0, values=True), random_rows(150, 1, values=True)
    model, epochs = fit("fm", rows=rows, valid=valid)
    assert curve(epochs) != curve(fit("fm")[1])
    with torch.no_grad():
        x, values = valid.features.to(process.best_device()), valid.values.to(process.best_device())
        torch.testing.assert_close(predict(model, valid), model(Batch(x, values)).cpu())
    assert not torch.allclose(predict(model, valid), predict(model, VALID))


@pytest.mark.parametrize("values", [False, True])
def test_predictions_in_chunks_are_those_at_once(monkeypatch, values):
    model, _ = fit("ifm", max_epochs=2)
    rows = random_rows(150, 2, values=values)
    at_once = predict(model.train(), rows)
    assert at_once.shape == (150,)
    assert not at_once.requires_grad
    assert not model.training
    for size in (1, 7, 50, 149, 150):
        monkeypatch.setattr(predicting, "EVALUATION_ROWS", size)
        torch.testing.assert_close(predict(model, rows), at_once)


def test_dropout_is_for_training_only():
    model = new_model("fm", SCHEMA, {"embed_dim": 4, "dropout": 0.5}, 0)
    assert torch.equal(predict(model, VALID), predict(model, VALID))


def test_dropout_is_for_training_in_every_epoch():
    model = new_model("fm", SCHEMA, {"embed_dim": 4, "dropout": 1.0}, 0)
    first = weights(model)["embedding.weight"]
    settings = TrainingParams(learning_rate=0.1, max_epochs=3, patience=3)
    seen = []
    train(model, TRAIN, VALID, settings, lambda _: seen.append(weights(model)["embedding.weight"]))
    assert [torch.equal(first, one) for one in seen] == [True] * 3


def trained_fm(embed_dim=4):
    model = new_model("fm", SCHEMA, {"embed_dim": embed_dim}, 3)
    train(model, TRAIN, VALID, TrainingParams(learning_rate=0.1, max_epochs=2))
    return weights(model)


@pytest.mark.parametrize("name", ["fm", "ifm", "inn"])
def test_a_pretrained_start_is_that_of_embeddings_and_linear_terms(name):
    pretrained = trained_fm()
    plain = weights(new_model(name, SCHEMA, SIZES[name], 0))
    started = weights(new_model(name, SCHEMA, SIZES[name], 0, pretrained))
    taken = {"embedding.weight", "linear.weight", "linear.bias"}
    assert taken <= plain.keys()
    for key in plain:
        assert torch.equal(started[key], (pretrained if key in taken else plain)[key]), key
    assert pretrained["linear.weight"].any()


@pytest.mark.parametrize("name", ["ffm", "afm_ffm"])
def test_all_vectors_of_a_field_aware_model_start_as_the_trained_ones(name):
    pretrained, random = trained_fm(), new_model(name, SCHEMA, {"embed_dim": 4}, 0)
    model = new_model(name, SCHEMA, {"embed_dim": 4}, 0, pretrained)
    for field, vectors in enumerate(model.embedding.weight.unflatten(1, (3, 4)).unbind(1)):
        assert torch.equal(vectors, pretrained["embedding.weight"]), field
    assert torch.equal(model.linear.weight, pretrained["linear.weight"])
    taken = {"embedding.weight", "linear.weight", "linear.bias"}
    assert all(torch.equal(value, weights(random)[key]) for key, value in weights(model).items() if key not in taken)


def test_a_pretrained_model_is_not_changed_by_a_run_that_starts_from_it():
    pretrained = trained_fm()
    before = {key: value.clone() for key, value in pretrained.items()}
    model = new_model("ifm", SCHEMA, SIZES["ifm"], 0, pretrained)
    train(model, TRAIN, VALID, TrainingParams(learning_rate=0.1, max_epochs=1))
    assert same(pretrained, before)


def test_a_pretrained_start_of_another_size_is_an_error():
    with pytest.raises(ValueError, match=r"pretrained embedding.weight is \[40, 8\], but ifm's is \[40, 4\]"):
        new_model("ifm", SCHEMA, SIZES["ifm"], 0, trained_fm(8))


def test_a_pretrained_start_of_another_size_is_an_error_of_a_field_aware_model_too():
    with pytest.raises(ValueError, match=r"pretrained embedding.weight is \[40, 24\], but ffm's is \[40, 12\]"):
        new_model("ffm", SCHEMA, {"embed_dim": 4}, 0, trained_fm(8))


def test_lr_takes_no_pretrained_start():
    assert not new_model("lr", SCHEMA, {}, 0, trained_fm()).state_dict()["linear.weight"].any()


def test_the_number_of_parameters_counts_what_is_learnt():
    assert num_params(new_model("lr", SCHEMA, {}, 0)) == 41
    plain, normed = (
        num_params(new_model("fm", SCHEMA, {"embed_dim": 4, "batch_norm": norm}, 0)) for norm in (False, True)
    )
    assert plain == 41 + 160
    assert normed == plain  # as in the IFM paper


def test_an_epoch_is_one_flat_record():
    _, (epoch,) = fit("lr", max_epochs=1)
    assert list(epoch.row()) == ["epoch", "seconds", "train_loss", "valid_rmse", "valid_auc", "valid_logloss"]


def test_the_memory_in_use_is_told_in_mib():
    held = torch.ones(4 * 2**20, device=process.best_device())  # 16 MiB
    assert 16 < process.peak_memory_mb() < 2**20
    del held


TRAINED_ONCE = """
import sys, torch
from pipelines.data.rows import Rows
from pipelines.project.metric import METRICS
from pipelines.project.params import TrainingParams
from pipelines.training.loop import train
from pipelines.training.start import new_model

rows = Rows(torch.tensor([[0, 1], [0, 2]]).int(), torch.tensor([1.0, -1.0]))
model = new_model("fm", {"field_dims": [1, 2], "fields": ["user", "item"]}, {"embed_dim": 2}, 0)
train(model, rows, rows, TrainingParams(max_epochs=1))
used = [each.stats for each in vars(sys.modules["models.kernels.loops"]).values() if hasattr(each, "stats")]
print("torch._dynamo" in sys.modules, sum(sum(each.cache_misses.values()) for each in used))
"""


def test_a_process_that_trains_neither_imports_dynamo_nor_compiles_what_another_process_has_compiled():
    fit("fm", max_epochs=1)
    done = subprocess.run([sys.executable, "-c", TRAINED_ONCE], capture_output=True, text=True, check=True)
    assert done.stdout == "False 0\n"


class Returning(torch.nn.Module):
    """Return what a function makes of two weights and the number of rows."""

    def __init__(self, forward):
        super().__init__()
        self.used, self.unused = (torch.nn.Parameter(torch.ones(1)) for _ in "ab")
        self.compute = forward

    def forward(self, batch):
        return self.compute(self.used, self.unused, len(batch.ids))


BROKEN = {
    "one logit for each row, [64], not [64, 1]": lambda a, b, rows: (a + b).expand(rows, 1),
    "one logit for each row, [64], not [1]": lambda a, b, rows: a + b,
    "one logit for each row, [64], not tuple": lambda a, b, rows: ((a + b).expand(rows),),
    "floating-point logits, not torch.int64": lambda a, b, rows: torch.ones(rows, dtype=torch.int64),
    "the logits depend on no parameter": lambda a, b, rows: torch.ones(rows),
    "no gradient reaches unused": lambda a, b, rows: a.expand(rows),
}


@pytest.mark.parametrize("problem", BROKEN)
def test_a_model_that_breaks_its_contract_is_refused_at_the_first_batch(problem):
    with pytest.raises(ValueError, match=r"^test_training: ") as raised:
        train(Returning(BROKEN[problem]), TRAIN, VALID, TrainingParams(batch_size=64))
    assert str(raised.value).endswith(problem)


def test_members_that_break_their_contract_are_refused_at_the_first_batch():
    model = Returning(lambda a, b, rows: (a + b).expand(rows))
    model.members = lambda batch, loss: model(batch)
    with pytest.raises(ValueError, match=r"^test_training: members .*each row, \[64, k\], not \[64\]$"):
        train(model, TRAIN, VALID, TrainingParams(batch_size=64))


def test_logits_that_are_not_finite_are_found_at_the_first_batch():
    broken = Returning(lambda a, b, rows: (a + b).expand(rows) / 0)
    with pytest.raises(FloatingPointError, match="test_training: the logits of the first batch are not finite"):
        train(broken, TRAIN, VALID, TrainingParams(batch_size=64))


def test_a_parameter_that_is_not_trained_needs_no_gradient():
    model = Returning(lambda a, b, rows: a.expand(rows))
    model.unused.requires_grad_(False)
    assert len(train(model, TRAIN, VALID, TrainingParams(batch_size=64, max_epochs=2))) == 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_prediction_that_is_not_finite_is_an_error_wherever_rows_are_predicted(value):
    model = new_model("lr", SCHEMA, {}, 0)
    with torch.no_grad():
        model.linear.bias.fill_(value)
    for ask in (predict, lambda model, rows: evaluate(model, rows, "squared_error")):
        with pytest.raises(FloatingPointError, match=r"^150 of 150 predictions are not finite: lower training\."):
            ask(model, VALID)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_peak_memory_starts_anew():
    with mmap.mmap(-1, 1 << 28) as memory:  # given back at its end, unlike what malloc gives
        memory.write(b"1" * (1 << 28))
    before = process.peak_memory_mb()
    process.forget_peak_memory()
    assert process.peak_memory_mb() < before - 200


LEFT = """
from pathlib import Path
from resource import getpagesize
import torch
from pipelines.training.process import prepare_process

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize() // 2**20

prepare_process(1)
left = [torch.ones(1 << 18) for _ in range(200)]  # 200 MiB
kept = torch.ones(1 << 18)  # above them, so that the process does not return them by itself
del left
before = resident()
prepare_process(1)
print(before - resident())
large = torch.ones(1 << 26)  # 256 MiB
kept = torch.ones(1 << 18)
before = resident()
del large
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told to")
def test_a_worker_returns_the_memory_of_an_earlier_training_and_of_large_buffers():
    done = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True, check=True)
    of_many, of_one = map(int, done.stdout.split())
    assert of_many > 150
    assert of_one > 200  # a large buffer goes as soon as it is free
