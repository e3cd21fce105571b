"""Check that a row's weight multiplies its training loss."""

import math

import pytest
import torch

from models.registry import create, hyperparameters
from pipelines.data.rows import Rows
from pipelines.project.params import TrainingParams
from pipelines.training.loop import train
from pipelines.training.loss import summed_loss

DIMS = [6, 5, 4]


def drawn(num_rows=40):
    generator = torch.Generator().manual_seed(3)
    columns = [torch.randint(size, (num_rows,), generator=generator) for size in DIMS]
    features = (torch.stack(columns, 1) + torch.tensor([0, 6, 11])).int()
    labels = torch.where(features.sum(1) % 2 > 0, 1.0, -1.0)
    times = torch.randint(1, 4, (num_rows,), generator=generator)
    return Rows(features, labels), times


@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
def test_the_loss_is_the_weighted_sum_of_a_loop(loss):
    logits, labels, weights = (
        torch.tensor([0.5, -2.0, 1.5]),
        torch.tensor([1.0, 1.0, -1.0]),
        torch.tensor([2.0, 0.0, 0.5]),
    )
    expected = 0.0
    for logit, label, weight in zip(logits.tolist(), labels.tolist(), weights.tolist(), strict=True):
        each = (logit - label) ** 2 / 2 if loss == "squared_error" else math.log(1 + math.exp(-label * logit))
        expected += weight * each
    assert summed_loss(logits, labels, loss, weights).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("model", ["lr", "fm", "ifm"])
@pytest.mark.parametrize("kernels", ["fast", "plain"])
@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
def test_a_weight_does_what_repeating_the_row_does(model, kernels, loss):
    rows, times = drawn()
    repeated = Rows(*(tensor.repeat_interleave(times, 0) for tensor in (rows.features, rows.labels)))
    weighted = Rows(rows.features, rows.labels, weights=times.float())
    trained = []
    for given in (weighted, repeated):
        torch.manual_seed(1)
        known = hyperparameters(model)
        small = {"embed_dim": 4, "attention_dim": 4} | {key: 0.0 for key in known if "dropout" in key}
        arguments = {key: value for key, value in small.items() if key in known}
        new = create(model, DIMS, arguments, fields=["a", "b", "c"])
        training = TrainingParams(max_epochs=5, batch_size=1000, loss=loss, kernels=kernels, patience=5)
        losses = [epoch.train_loss * len(given) for epoch in train(new, given, rows, training)]
        trained.append((losses, new.state_dict()))
    (losses, weights), (expected_losses, expected) = trained
    assert losses == pytest.approx(expected_losses, rel=1e-4)
    for name, weight in weights.items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-3, atol=1e-5)


def test_each_batch_has_the_weights_of_its_own_rows():
    rows, _ = drawn()
    heavy = rows.labels > 0
    labels = {}
    for positive, negative in ((1.0, 0.0), (0.0, 1.0)):
        weights = torch.where(heavy, positive, negative)
        torch.manual_seed(0)
        model = create("lr", DIMS, {})
        train(
            model, Rows(rows.features, rows.labels, weights=weights), rows, TrainingParams(max_epochs=3, batch_size=7)
        )
        with torch.no_grad():
            labels[positive] = model(rows.batch(slice(None))).mean().item()
    assert labels[1.0] > 0.1 > -0.1 > labels[0.0]


def test_a_model_in_closed_form_refuses_weights():
    rows, times = drawn()
    with pytest.raises(ValueError, match="closed form can't be fitted to rows with weights"):
        train(create("mean", DIMS, {}), Rows(rows.features, rows.labels, weights=times.float()), rows, TrainingParams())
