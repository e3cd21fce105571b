import math
from itertools import product

import numpy as np
import pytest
import torch

from pipelines.training.metrics import Metrics, auc, compute_metrics, predictions


def slow_auc(scores, labels):
    """Compute the AUC over all pairs of a positive and a negative."""
    positives = [s for s, y in zip(scores, labels, strict=True) if y > 0]
    negatives = [s for s, y in zip(scores, labels, strict=True) if y < 0]
    wins = sum((p > n) + 0.5 * (p == n) for p, n in product(positives, negatives))
    return wins / (len(positives) * len(negatives))


def random_rows(num_rows, num_scores, seed):
    """Draw scores and labels. Few distinct scores give many ties."""
    rng = np.random.default_rng(seed)
    scores = torch.tensor(rng.integers(num_scores, size=num_rows) / num_scores * 3 - 1.5, dtype=torch.float32)
    labels = torch.tensor(rng.choice([-1.0, 1.0], size=num_rows), dtype=torch.float32)
    labels[:2] = torch.tensor([1.0, -1.0])
    return scores, labels


@pytest.mark.parametrize("num_scores", [1, 2, 5, 50, 100_000])
@pytest.mark.parametrize("num_rows", [2, 3, 17, 150])
def test_auc_is_the_share_of_pairs_in_order_with_ties_as_half(num_rows, num_scores):
    for seed in range(5):
        scores, labels = random_rows(num_rows, num_scores, seed)
        assert auc(scores, labels) == pytest.approx(slow_auc(scores.tolist(), labels.tolist()), abs=1e-12)


def test_auc_of_the_best_worst_and_no_order():
    labels = torch.tensor([1.0, -1, 1, -1])
    assert auc(labels, labels) == 1
    assert auc(-labels, labels) == 0
    assert auc(torch.zeros(4), labels) == 0.5
    assert auc(torch.tensor([0.0, -0.0, -0.0, 0.0]), labels) == 0.5


def test_auc_sees_what_clipping_would_hide():
    labels = torch.tensor([1.0, -1.0])
    assert compute_metrics(torch.tensor([3.0, 2.0]), labels, "squared_error").auc == 1


@pytest.mark.parametrize("label", [1.0, -1.0])
def test_auc_of_one_class_is_an_error(label):
    with pytest.raises(ValueError, match="both classes"):
        auc(torch.tensor([0.1, 0.2]), torch.full((2,), label))


def test_predictions_are_clipped_for_squared_error():
    logits = torch.tensor([-3.0, -1.0, -0.25, 0.0, 0.5, 1.0, 7.0])
    assert predictions(logits, "squared_error").tolist() == [-1, -1, -0.25, 0, 0.5, 1, 1]


def test_predictions_are_the_expected_label_for_cross_entropy():
    logits = [-800.0, -2.0, 0.0, 0.3, 5.0, 800.0]
    expected = [-1 + 2 / (1 + math.exp(-x)) if x > -700 else -1 for x in logits]
    got = predictions(torch.tensor(logits, dtype=torch.float64), "cross_entropy").tolist()
    assert got == pytest.approx(expected, abs=1e-15)


def test_rmse_is_that_of_clipped_predictions():
    metrics = compute_metrics(torch.tensor([3.0, 0.5, -0.5, -9.0]), torch.tensor([1.0, 1, 1, -1]), "squared_error")
    assert metrics.rmse == pytest.approx(math.sqrt((0 + 0.25 + 2.25 + 0) / 4), abs=1e-15)


@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
def test_logloss_is_minus_the_mean_log_of_the_likelihood(loss):
    logits, labels = random_rows(100, 1000, seed=0)
    expected = []
    for logit, label in zip(logits.tolist(), labels.tolist(), strict=True):
        probability = (max(-1, min(1, logit)) + 1) / 2 if loss == "squared_error" else 1 / (1 + math.exp(-logit))
        likelihood = probability if label > 0 else 1 - probability
        expected.append(-math.log(min(max(likelihood, 1e-6), 1 - 1e-6)))
    assert compute_metrics(logits, labels, loss).logloss == pytest.approx(np.mean(expected), abs=1e-12)


def test_logloss_of_a_wholly_wrong_prediction_is_finite():
    labels = torch.tensor([1.0, -1.0])
    for loss in ("squared_error", "cross_entropy"):
        wrong = compute_metrics(-1000 * labels, labels, loss)
        assert wrong.logloss == pytest.approx(-math.log(1e-6))
        assert compute_metrics(1000 * labels, labels, loss).logloss == pytest.approx(1e-6, rel=1e-3)


def test_metrics_of_many_rows_are_exact_to_float64():
    rng = np.random.default_rng(0)
    logits = rng.uniform(-1, 1, 200_000).astype(np.float32)
    labels = rng.choice([-1.0, 1.0], 200_000).astype(np.float32)
    metrics = compute_metrics(torch.tensor(logits), torch.tensor(labels), "squared_error")
    p, y = logits.astype(np.float64), labels.astype(np.float64)
    assert metrics.rmse == pytest.approx(np.sqrt(np.mean((p - y) ** 2)), abs=1e-13)
    assert metrics.logloss == pytest.approx(-np.mean(np.log(np.clip((1 + y * p) / 2, 1e-6, 1 - 1e-6))), abs=1e-13)


def test_a_score_is_always_to_be_minimised():
    metrics = Metrics(rmse=0.3, auc=0.9, logloss=0.2)
    assert [metrics.score(name) for name in ("rmse", "auc", "logloss")] == [0.3, -0.9, 0.2]


def test_metrics_are_named_by_split():
    assert Metrics(0.3, 0.9, 0.2).named("valid") == {"valid_rmse": 0.3, "valid_auc": 0.9, "valid_logloss": 0.2}


def test_auc_of_a_score_that_is_no_number_is_an_error():
    with pytest.raises(FloatingPointError, match="a score is not a number"):
        auc(torch.tensor([0.1, float("nan"), 0.3]), torch.tensor([1.0, -1.0, 1.0]))
