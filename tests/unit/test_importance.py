import json
import shutil
from itertools import combinations

import importance
import polars as pl
import pytest
import torch
import yaml
from projects import Project
from reference import attention, embedded, field_aspect, products_of, randomize
from test_experiment import EXPERIMENTS

from models import registry
from pipelines.data.catalog import get_dataset
from pipelines.data.rows import Rows
from pipelines.evaluation.importance import measure_pairs

DIMS, FIELDS = (3, 4, 2, 3), ["user", "item", "city", "day"]


def small_model():
    sizes = {"embed_dim": 3, "attention_dim": 2, "field_embed_dim": 2, "temperature": 2.0, "dropout": 0.3}
    return randomize(registry.create("ifm", DIMS, sizes))


def some_rows(num_rows=40):
    first = torch.tensor([0, *DIMS[:-1]]).cumsum(0)
    torch.manual_seed(1)
    ids = torch.stack([torch.randint(dim, (num_rows,)) for dim in DIMS], 1) + first
    return Rows(ids.int(), torch.ones(num_rows))


def test_the_measures_are_those_of_loops_over_rows_and_pairs(monkeypatch):
    monkeypatch.setattr("pipelines.training.predicting.EVALUATION_ROWS", 7)
    model, rows = small_model(), some_rows()
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    F = field_aspect(weights)
    norms = [sum(float(f) ** 2 for f in vector) ** 0.5 for vector in F]
    T_of, effects, products = [[] for _ in F], [[] for _ in F], [[] for _ in F]
    for ids in rows.features.tolist():
        pairs = products_of(embedded(weights, ids, [1.0] * len(ids)))
        for p, (t, pair) in enumerate(zip(attention(weights, pairs, 2.0, "logits"), pairs, strict=True)):
            effect = sum(float(f) * float(e) for f, e in zip(F[p], pair, strict=True))
            T_of[p].append(float(t))
            effects[p].append(effect)
            products[p].append(float(t) * effect)
    table = measure_pairs(model, rows, FIELDS)
    assert list(zip(table["i"], table["j"], strict=True)) == list(combinations(FIELDS, 2))
    assert table["norm"].to_list() == pytest.approx(norms)
    assert table["proportion"].to_list() == pytest.approx([norm / sum(norms) for norm in norms])
    assert table["attention"].to_list() == pytest.approx([sum(values) / len(values) for values in T_of])
    assert table["variance"].to_list() == pytest.approx([variance(values) for values in effects])
    assert table["product"].to_list() == pytest.approx([variance(values) for values in products])
    assert table["proportion"].sum() == pytest.approx(1)
    assert table["attention"].sum() == pytest.approx(1)


def variance(values):
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)


def test_the_scale_of_a_fields_embeddings_changes_the_norm_and_not_what_a_pair_gives():
    model, rows = small_model(), some_rows()
    before = measure_pairs(model, rows, FIELDS)
    with torch.no_grad():
        model.embedding.weight[3:7] *= 5  # the items
        model.field_aspect.U[1] /= 5
    after = measure_pairs(model, rows, FIELDS)
    with_item = pl.Series([("item" in pair) for pair in combinations(FIELDS, 2)])
    expected = before["norm"] / pl.select(pl.when(with_item).then(5).otherwise(1)).to_series()
    assert after["norm"].to_list() == pytest.approx(expected.to_list())
    assert after["variance"].to_list() == pytest.approx(before["variance"].to_list())


@pytest.mark.parametrize(
    ("dataset", "field"),
    [
        ("frappe", "item"),
        ("frappe-nfm", "item"),
        ("movielens", "tag"),
        ("movielens-nfm", "tag"),
        ("movielens-25m", "tag"),
        ("synthetic", "item"),
    ],
)
def test_only_pairs_with_the_field_that_negatives_replace_tell_of_the_label(dataset, field):
    assert importance.replaced_field(dataset) == field
    fields = get_dataset(dataset).fields
    pairs = [pair for pair in combinations(fields, 2) if field in pair]
    assert len(pairs) == {10: 9, 3: 2, 7: 6}[len(fields)]


def table_of(planted, **measures):
    rest = {name: [1.0] * len(planted) for name in importance.MEASURES}
    informative = [value > 0 for value in planted]
    return pl.DataFrame({**rest, **measures, "planted": planted, "has_label_information": informative})


def slow_ranks(values):
    """Rank values from 1. Equal values get their mean rank."""
    return [sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values]


def slow_spearman(a, b):
    a, b = slow_ranks(a), slow_ranks(b)
    mean = (len(a) + 1) / 2
    products = sum((x - mean) * (y - mean) for x, y in zip(a, b, strict=True))
    return products / (sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b)) ** 0.5


def test_spearman_is_that_of_a_slow_reference_also_with_equals():
    planted = [2.4, 0.0, 0.0, 1.8, 0.0, 0.5]
    for norm in ([9.0, 1, 2, 3, 4, 5], [1.0, 2, 2, 0, 2, 7], [5.0, 0, 0, 4, 0, 3]):
        table = table_of(planted, norm=norm)
        assert importance.spearman(table, "norm") == pytest.approx(slow_spearman(norm, planted))
    assert importance.spearman(table, "norm") == pytest.approx(1)


def test_the_summary_has_shares_and_precision():
    table = table_of([2.0, 0.0, 1.0, 0.0], norm=[3.0, 2.0, 1.0, 4.0], variance=[4.0, 0.0, 4.0, 2.0])
    result = importance.summary(table)
    assert result["k"] == 2
    assert result["precision_at_k"]["norm"] == 0.5
    assert result["precision_at_k"]["variance"] == 1
    shares = result["share_without_label_information"]
    assert (shares["pairs"], shares["norm"], shares["variance"]) == pytest.approx((0.5, 0.6, 0.2))
    assert "spearman" not in importance.summary(table.drop("planted"))


def test_the_command_measures_each_pair_of_the_generated_data_without_test_rows(prepared, tmp_path):
    project = Project(shutil.copytree(prepared.root, tmp_path / "paper"))
    (project.root / "data" / "processed" / "synthetic" / "test.parquet").unlink()
    (project.root / "experiments.yaml").write_text(yaml.safe_dump(EXPERIMENTS))
    importance.main("synthetic", project.params)
    folder = project.root / "results" / "importance"
    table, result = pl.read_csv(folder / "synthetic.csv"), json.loads((folder / "synthetic.json").read_text())
    measures = ["norm", "proportion", "attention", "variance", "product"]
    assert table.columns == ["i", "j", *measures, "has_label_information", "planted"]
    assert table["proportion"].sum() == pytest.approx(1)
    truth = json.loads((project.root / "data" / "raw" / "synthetic" / "truth.json").read_text())
    assert {f"{row['i']}-{row['j']}": row["planted"] for row in table.iter_rows(named=True)} == truth
    with_item = [row["i"] == "item" or row["j"] == "item" for row in table.iter_rows(named=True)]
    assert table["has_label_information"].to_list() == with_item
    assert result["k"] == 4
    assert set(result["spearman"]) == set(importance.MEASURES)
    for measure in importance.MEASURES:
        ours = slow_spearman(table[measure].to_list(), table["planted"].to_list())
        assert result["spearman"][measure] == pytest.approx(ours)
    assert result["best_epoch"] in (1, 2)


def test_an_unknown_data_set_is_named(prepared):
    with pytest.raises(ValueError, match="unknown data set 'frape'; choose one of: frappe"):
        importance.main("frape", prepared.params)
