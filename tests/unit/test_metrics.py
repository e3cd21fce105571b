import math
from itertools import product

import numpy as np
import pytest
import torch

from pipelines.project.metric import METRICS, NUM_BINS
from pipelines.training.metrics import Metrics, compute_metrics, defined, predictions


def slow_auc(scores, labels):
    """Compute the AUC over all pairs of a positive and a negative."""
    positives = [s for s, y in zip(scores, labels, strict=True) if y > 0]
    negatives = [s for s, y in zip(scores, labels, strict=True) if y < 0]
    wins = sum((p > n) + 0.5 * (p == n) for p, n in product(positives, negatives))
    return wins / (len(positives) * len(negatives))


def auc(scores, labels):
    return compute_metrics(scores, labels, "squared_error", ["auc"])["auc"]


def slow_average_precision(scores, labels):
    """Average over the positives the share of positives among the rows that score no less."""
    rows = list(zip(scores, labels, strict=True))
    precisions = []
    for score, label in rows:
        if label > 0:
            reached = [y for s, y in rows if s >= score]
            precisions.append(sum(y > 0 for y in reached) / len(reached))
    return sum(precisions) / len(precisions)


def slow_ece(probabilities, labels):
    """Sort rows into bins by their probability's middle place, and weigh bins by their rows."""
    bins = {}
    for probability, label in zip(probabilities, labels, strict=True):
        below = sum(other < probability for other in probabilities)
        equal = sum(other == probability for other in probabilities)
        bins.setdefault(int(NUM_BINS * (below + equal / 2) / len(labels)), []).append((probability, label > 0))
    total = 0.0
    for rows in bins.values():
        mean, share = (sum(column) / len(rows) for column in zip(*rows, strict=True))
        total += len(rows) / len(labels) * abs(mean - share)
    return total


def slow_group_auc(scores, labels, groups):
    """Average the AUC of each group with both classes, weighted by its rows."""
    total, num_rows = 0.0, 0
    for group in set(groups):
        own = [(s, y) for s, y, g in zip(scores, labels, groups, strict=True) if g == group]
        if {y > 0 for _, y in own} == {True, False}:
            total += len(own) * slow_auc(*zip(*own, strict=True))
            num_rows += len(own)
    return total / num_rows


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
    assert compute_metrics(torch.tensor([3.0, 2.0]), labels, "squared_error")["auc"] == 1


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
    assert metrics["rmse"] == pytest.approx(math.sqrt((0 + 0.25 + 2.25 + 0) / 4), abs=1e-15)


@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
def test_logloss_is_minus_the_mean_log_of_the_likelihood(loss):
    logits, labels = random_rows(100, 1000, seed=0)
    expected = []
    for logit, label in zip(logits.tolist(), labels.tolist(), strict=True):
        probability = (max(-1, min(1, logit)) + 1) / 2 if loss == "squared_error" else 1 / (1 + math.exp(-logit))
        likelihood = probability if label > 0 else 1 - probability
        expected.append(-math.log(min(max(likelihood, 1e-6), 1 - 1e-6)))
    assert compute_metrics(logits, labels, loss)["logloss"] == pytest.approx(np.mean(expected), abs=1e-12)


def test_logloss_of_a_wholly_wrong_prediction_is_finite():
    labels = torch.tensor([1.0, -1.0])
    for loss in ("squared_error", "cross_entropy"):
        wrong = compute_metrics(-1000 * labels, labels, loss)
        assert wrong["logloss"] == pytest.approx(-math.log(1e-6))
        assert compute_metrics(1000 * labels, labels, loss)["logloss"] == pytest.approx(1e-6, rel=1e-3)


def test_metrics_of_many_rows_are_exact_to_float64():
    rng = np.random.default_rng(0)
    logits = rng.uniform(-1, 1, 200_000).astype(np.float32)
    labels = rng.choice([-1.0, 1.0], 200_000).astype(np.float32)
    metrics = compute_metrics(torch.tensor(logits), torch.tensor(labels), "squared_error")
    p, y = logits.astype(np.float64), labels.astype(np.float64)
    assert metrics["rmse"] == pytest.approx(np.sqrt(np.mean((p - y) ** 2)), abs=1e-13)
    assert metrics["logloss"] == pytest.approx(-np.mean(np.log(np.clip((1 + y * p) / 2, 1e-6, 1 - 1e-6))), abs=1e-13)


def test_a_score_is_always_to_be_minimised():
    metrics = Metrics(rmse=0.3, auc=0.9, logloss=0.2)
    assert [metrics.score(name) for name in ("rmse", "auc", "logloss")] == [0.3, -0.9, 0.2]


def test_metrics_are_named_by_split():
    assert Metrics(rmse=0.3, auc=0.9, logloss=0.2).named("valid") == {
        "valid_rmse": 0.3,
        "valid_auc": 0.9,
        "valid_logloss": 0.2,
    }


def test_auc_of_a_score_that_is_no_number_is_an_error():
    with pytest.raises(FloatingPointError, match="a score is not a number"):
        auc(torch.tensor([0.1, float("nan"), 0.3]), torch.tensor([1.0, -1.0, 1.0]))


@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
@pytest.mark.parametrize("num_scores", [1, 2, 5, 40, 1000])
@pytest.mark.parametrize("num_rows", [2, 7, 150])
def test_the_other_metrics_are_those_of_plain_loops(num_rows, num_scores, loss):
    for seed in range(3):
        scores, labels = random_rows(num_rows, num_scores, seed)
        groups = torch.tensor(np.random.default_rng(seed).integers(max(1, num_rows // 5), size=num_rows))
        groups[1] = groups[0]  # a group with both classes
        rows = scores.tolist(), labels.tolist()
        probabilities = ((predictions(scores.double(), loss) + 1) / 2).tolist()
        expected = {
            "pr_auc": slow_average_precision(*rows),
            "ece": slow_ece(probabilities, labels.tolist()),
            "group_auc": slow_group_auc(*rows, groups.tolist()),
        }
        assert compute_metrics(scores, labels, loss, expected, groups) == pytest.approx(expected, abs=1e-12)


def metric_of(name, scores, labels, groups=None, loss="squared_error"):
    groups = groups and torch.tensor(groups)
    scores, labels = torch.tensor(scores, dtype=torch.float64), torch.tensor(labels)
    return compute_metrics(scores, labels, loss, [name], groups)[name]


def test_average_precision_of_known_rankings():
    assert metric_of("pr_auc", [0.1, 0.4, 0.35, 0.8], [-1.0, -1, 1, 1]) == pytest.approx((1 + 2 / 3) / 2)
    assert metric_of("pr_auc", [0.9, 0.8, 0.7, 0.6], [1.0, 1, -1, -1]) == 1
    assert metric_of("pr_auc", [0.9, 0.8, 0.7, 0.6], [-1.0, -1, -1, 1]) == 1 / 4
    assert metric_of("pr_auc", [0.5] * 4, [1.0, -1, -1, -1]) == 1 / 4  # the share of positives


def test_the_calibration_error_of_known_predictions():
    labels = [1.0] * 3 + [-1.0] * 7
    share = 2 * 0.3 - 1  # the prediction of the label that is right on average
    assert metric_of("ece", [share] * 10, labels) == pytest.approx(0)
    assert metric_of("ece", [share + 0.4] * 10, labels) == pytest.approx(0.2)
    assert metric_of("ece", labels, labels) == 0
    assert metric_of("ece", [-label for label in labels], labels) == 1


def test_errors_of_one_bin_cancel_and_those_of_two_bins_do_not():
    labels = [1.0, -1.0] * 50
    assert metric_of("ece", [0.0] * 100, labels) == 0
    spread = [0.5] * 50 + [-0.5] * 50  # each half has as many positives as negatives
    assert metric_of("ece", spread, labels) == pytest.approx(0.25)


def test_groups_weigh_by_their_rows_and_those_of_one_class_do_not_count():
    scores, labels = [0.9, 0.1, 0.2, 0.8, 0.7, 0.6, 0.5], [1.0, -1, 1, -1, -1, 1, 1]
    assert metric_of("group_auc", scores, labels, [4, 4, 7, 7, 7, 9, 9]) == pytest.approx((2 * 1 + 3 * 0) / 5)
    assert metric_of("group_auc", scores, labels, [0] * 7) == metric_of("auc", scores, labels)
    shifted = [score + 10 * group for score, group in zip(scores, [4, 4, 7, 7, 7, 9, 9], strict=True)]
    assert metric_of("group_auc", shifted, labels, [4, 4, 7, 7, 7, 9, 9]) == pytest.approx(2 / 5)


@pytest.mark.parametrize("name", ["auc", "pr_auc"])
@pytest.mark.parametrize("label", [1.0, -1.0])
def test_a_ranking_of_one_class_is_an_error(name, label):
    with pytest.raises(ValueError, match=rf"^{METRICS[name].title} needs rows of both classes$"):
        metric_of(name, [0.1, 0.2], [label] * 2)


def test_groups_of_one_class_each_are_an_error_and_then_the_metric_is_not_defined():
    with pytest.raises(ValueError, match=r"^group_auc needs a group with rows of both classes$"):
        metric_of("group_auc", [0.1, 0.2], [1.0, -1.0], [1, 2])
    labels = torch.tensor([1.0, -1.0])
    assert "group_auc" not in defined(labels, torch.tensor([1, 2]))
    assert "group_auc" not in defined(labels)
    assert defined(labels, torch.tensor([1, 1])) == (*METRICS,)


def test_all_metrics_prefer_better_predictions():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (2000,), generator=generator) * 2.0 - 1
    noise, groups = torch.randn(2000, generator=generator), torch.randint(50, (2000,), generator=generator)
    good = compute_metrics(4 * labels + noise, labels, "cross_entropy", METRICS, groups)
    bad = compute_metrics(-4 * labels + noise, labels, "cross_entropy", METRICS, groups)
    assert all(good.score(name) < bad.score(name) for name in METRICS)
