"""Check catboost's statistics and its sum of trees against the package's own predictions."""

import numpy as np
import pytest
import torch
from forests import grown, planted_rows

from pipelines.data.rows import Rows
from pipelines.training.predicting import predict

catboost = pytest.importorskip("catboost", reason="the extra [trees] is not installed")
OURS = ("train_dir", "save_snapshot", "snapshot_file", "snapshot_interval", "final_ctr_computation_mode")


@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
def test_trees_and_statistics_give_what_the_package_gives_in_one_go(monkeypatch, loss):
    given, real = [], catboost.CatBoost
    monkeypatch.setattr(catboost, "CatBoost", lambda options: given.append(options) or real(options))
    rows, valid = planted_rows(1500, 0, weights=True), planted_rows(400, 1)
    model, epochs = grown("catboost", rows, valid, loss=loss, depth=4)
    best = min(epochs, key=lambda epoch: epoch.valid["logloss"])
    options = {key: value for key, value in given[best.epoch - 1].items() if key not in OURS}
    alone = real({**options, "allow_writing_files": False})
    train_table, table = (model.table(model.columns(each.batch(slice(None)))) for each in (rows, valid))
    targets = (rows.labels if loss == "squared_error" else rows.labels > 0).double().numpy()
    alone.fit(catboost.Pool(train_table, targets, cat_features=[0, 1, 2], weight=rows.weights.numpy()))
    expected = alone.predict(table, prediction_type="RawFormulaVal")
    for kernels in (True, False):
        np.testing.assert_allclose(predict(model, valid, kernels), expected, atol=1e-6)
    assert len(model.statistics.combinations) > 3
    assert model.statistics.parts.diff().max() > 1  # pairs of categories among them
    assert epochs[1].train_loss < epochs[0].train_loss


def test_a_category_of_one_row_teaches_nothing_about_it():
    labels = torch.where(torch.rand(30, generator=torch.Generator().manual_seed(0)) < 0.5, 1.0, -1.0)
    ids = torch.stack([torch.arange(30), torch.full((30,), 30), *(torch.full((30,), i) for i in (70, 77, 79))], 1)
    rows = Rows(ids.int(), labels)  # users are all different, the rest is the same in all rows
    model, _ = grown("catboost", rows, rows, loss="squared_error")
    assert predict(model, rows).std() < 0.1 * labels.std()
