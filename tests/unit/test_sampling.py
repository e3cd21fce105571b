import polars as pl
import pytest
import sampling
import torch
import yaml
from projects import PARAMS


@pytest.fixture(autouse=True)
def few_fields(monkeypatch):
    monkeypatch.setattr(sampling, "NUM_FIELDS", 6)
    monkeypatch.setattr(sampling, "NUM_PLANTED", 3)


def test_a_row_a_share_and_seed(tmp_path):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    sampling.main(tmp_path / "params.yaml", num_rows=400, max_epochs=1, num_seeds=2)
    table = pl.read_csv(tmp_path / "results" / "sampling.csv")
    assert table["share"].unique(maintain_order=True).to_list() == [0.05, 0.1, 0.2, 0.5, 1.0]
    assert table["num_sampled"].unique(maintain_order=True).to_list() == [1, 2, 3, 8, 15]
    assert table["seed"].to_list() == [0, 1] * 5
    assert (table["seconds_per_epoch"] > 0).all()
    assert table["valid_rmse"].is_between(0.5, 1.5).all()
    assert table["valid_auc"].is_between(0, 1).all()


def test_the_same_seed_gives_the_same_rows_and_about_half_are_positive():
    rows, again, others = (sampling.generate(2000, seed) for seed in (1, 1, 2))
    assert torch.equal(rows.features, again.features)
    assert torch.equal(rows.labels, again.labels)
    assert not torch.equal(rows.features, others.features)
    assert 0.3 < (rows.labels == 1).float().mean() < 0.7
    fields = rows.features // sampling.FIELD_DIM
    assert torch.equal(fields, torch.arange(6, dtype=torch.int32).expand(2000, 6))


def test_labels_follow_pairs_of_features_and_no_feature_alone():
    # A pair's influence is the variance of the mean label over its 100 combinations of features. Of all 15 pairs, the
    # three planted ones must have the largest influence.
    rows = sampling.generate(40_000, 3)
    told = {}
    for i, j in torch.combinations(torch.arange(6)).tolist():
        code = rows.features[:, i] % 10 * 10 + rows.features[:, j] % 10
        means = torch.stack([rows.labels[code == c].mean() for c in range(100)])
        told[i, j] = means.var().item()
    ranked = sorted(told.values(), reverse=True)
    assert ranked[2] > 3 * ranked[3]
