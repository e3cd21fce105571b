"""Check lightgbm's columns and its sum of trees against the package's own predictions."""

import numpy as np
import pytest
import torch
from forests import FIELD_DIMS, grown, planted_rows

from models.layers.batch import Batch
from models.layers.category_columns import NUM_FOLDS, FoldMeans
from models.lightgbm import trees_of
from pipelines.training.loss import summed_loss
from pipelines.training.predicting import predict

lightgbm = pytest.importorskip("lightgbm", reason="the extra [trees] is not installed")


@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
@pytest.mark.parametrize("encoding", ["native", "means", "both"])
def test_trees_give_what_the_package_gives(monkeypatch, encoding, loss):
    boosters, real = [], lightgbm.Booster
    monkeypatch.setattr(lightgbm, "Booster", lambda *given: boosters.append(real(*given)) or boosters[-1])
    rows, valid = planted_rows(1500, 0, weights=True), planted_rows(400, 1)
    model, epochs = grown("lightgbm", rows, valid, loss=loss, encoding=encoding, min_data_per_group=5)
    best = min(epochs, key=lambda epoch: epoch.valid["logloss"])
    columns = model.columns(valid.batch(slice(None))).numpy()
    expected = boosters[0].predict(columns, raw_score=True, num_iteration=15 * best.epoch)
    for kernels in (True, False):
        np.testing.assert_allclose(predict(model, valid, kernels), expected, atol=1e-6)
    assert model.forest.depth > 2
    assert (len(model.forest.words) > 0) == (encoding != "means")
    assert epochs[1].train_loss < epochs[0].train_loss


def test_the_training_loss_is_that_of_other_models():
    rows = planted_rows(800, 0, weights=True)
    model, (epoch,) = grown("lightgbm", rows, planted_rows(200, 1), epochs=1)
    total = summed_loss(predict(model, rows), rows.labels, "cross_entropy", rows.weights)
    assert epoch.train_loss == pytest.approx(total.item() / len(rows), rel=1e-5)


def encoded(labels, seed=3):
    rows = planted_rows(600, 0)
    means = FoldMeans(sum(FIELD_DIMS), smoothing=2.0)
    torch.manual_seed(seed)
    found = means.fit(Batch(rows.features), labels)
    torch.manual_seed(seed)
    return means, found, torch.randint(NUM_FOLDS, (600,)), rows.features


def test_no_row_is_encoded_by_its_own_label_or_fold():
    labels = planted_rows(600, 0).labels
    _, found, fold, _ = encoded(labels)
    for one in range(NUM_FOLDS):
        _, after, _, _ = encoded(torch.where(fold == one, -labels, labels))
        same = (after == found).all(1)
        assert same[fold == one].all()
        assert not same[fold != one].any()


def test_means_and_counts_are_those_of_plain_loops():
    labels = planted_rows(600, 0).labels
    means, found, fold, ids = encoded(labels)
    n = len(FIELD_DIMS)
    for row in range(0, 600, 37):
        for field in range(n):
            known = [other for other in range(600) if ids[other, field] == ids[row, field]]
            others = [other for other in known if fold[other] != fold[row]]
            prior = labels[fold != fold[row]].double().mean().item()
            mean = (sum(labels[other].item() for other in others) + 2 * prior) / (len(others) + 2)
            assert found[row, field].item() == pytest.approx(mean, abs=1e-6)
            assert found[row, n + field].item() == pytest.approx(len(others) * 1.25)
            mean = (sum(labels[other].item() for other in known) + 2 * labels.mean().item()) / (len(known) + 2)
            new = means(Batch(ids[row : row + 1]))[0]
            assert new[field].item() == pytest.approx(mean, abs=1e-6)
            assert new[n + field].item() == len(known)


def test_thresholds_part_numbers_of_less_precision_as_the_package_does():
    above = float(np.nextafter(np.float32(0.1), np.float32(1)))
    between = (float(np.float32(0.1)) + above) / 2
    text = f"tree\n\nTree=0\nnum_leaves=2\nsplit_feature=0\nthreshold={between!r}\ndecision_type=2\n"
    text += "left_child=-1\nright_child=-2\nleaf_value=1 2\n\nend of trees\n"
    model, _ = grown("lightgbm", planted_rows(100, 0), planted_rows(50, 1), epochs=1)
    model.forest.grow(**trees_of(text))
    assert model.forest(torch.tensor([[0.1], [above]])).tolist() == [1, 2]
