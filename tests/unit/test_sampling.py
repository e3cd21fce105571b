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
    monkeypatch.setattr(sampling, "FIELD_DIM", 10)


def test_a_row_for_each_share_and_seed_with_the_l2_that_is_best_for_the_share(tmp_path, capsys):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    sampling.main(tmp_path / "params.yaml", num_rows=400, max_epochs=1, num_seeds=2)
    words = [dict(pair.split(" ") for pair in line.split("  ")) for line in capsys.readouterr().out.splitlines()]
    tried = [line for line in words if line["seed"] == "0"]
    assert len(tried) == 5 * len(sampling.L2_FIELDS)
    table = pl.read_csv(tmp_path / "results" / "sampling.csv")
    assert table["share"].unique(maintain_order=True).to_list() == [0.05, 0.1, 0.2, 0.5, 1.0]
    assert table["num_sampled"].unique(maintain_order=True).to_list() == [1, 2, 3, 8, 15]
    assert table["seed"].to_list() == [0, 1] * 5
    for share, l2_field, seed, auc in table.select("share", "l2_field", "seed", "valid_auc").iter_rows():
        of_share = {float(line["l2_field"]): line["valid_auc"] for line in tried if float(line["share"]) == share}
        assert of_share[l2_field] == max(of_share.values())
        assert seed > 0 or f"{auc:.4g}" == of_share[l2_field]
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


def test_no_feature_tells_much_alone(monkeypatch):
    for name, number in (("NUM_FIELDS", 40), ("NUM_PLANTED", 20), ("FIELD_DIM", 4)):
        monkeypatch.setattr(sampling, name, number)
    rows = sampling.generate(40_000, 3)
    means = torch.stack([rows.labels[(rows.features == feature).any(1)].mean() for feature in range(160)])
    assert (means - rows.labels.mean()).abs().max() < 0.06
