"""Check that what is called important or near is so."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import torch
from bundled import FIELD_DIMS, FIELDS, keep, keep_prepared

from pipelines import explain
from pipelines.data.rows import Rows
from pipelines.evaluation import importance
from pipelines.evaluation.bundles import read_bundle, read_vocabulary
from pipelines.training.start import new_model

SHIFT = torch.tensor([0, 5, 9])


def test_a_field_is_as_important_as_what_it_tells_of_the_label():
    """Let the item alone tell the label, and the model weigh the tag with nothing."""
    generator = torch.Generator().manual_seed(0)
    places = torch.stack([torch.randint(size, (2000,), generator=generator) for size in FIELD_DIMS], 1)
    model = new_model("lr", {"fields": FIELDS, "field_dims": FIELD_DIMS}, {}, 0)
    with torch.no_grad():
        model.linear.weight.copy_(torch.tensor([0.0, 0, 0, 0, 1, -9, -3, 3, 9, 0, 0, 0]))
    rows = Rows((places + SHIFT).int(), torch.where(places[:, 1] > 1, 1.0, -1.0), torch.ones(2000, 3))
    for metric in ("auc", "logloss"):
        table = importance.permute_fields(model, rows, FIELDS, "cross_entropy", metric, 3, 0)
        assert table["field"][0] == "item"
        assert table["mean"][0] > 0.3 > 0.1 > table["mean"][1]
        assert dict(table.select("field", "mean").iter_rows())["tag"] == 0
        assert table["std"][0] > 0
    assert rows.features.equal((places + SHIFT).int())


def test_values_are_exchanged_with_their_features():
    rows = Rows(torch.tensor([[0, 5], [1, 6], [2, 7]]), torch.ones(3), torch.tensor([[1.0, 2], [3, 4], [5, 6]]))
    found = importance.permuted(rows, 1, torch.tensor([2, 0, 1]))
    assert found.features.tolist() == [[0, 7], [1, 5], [2, 6]]
    assert found.values.tolist() == [[1, 6], [3, 2], [5, 4]]


@pytest.mark.parametrize("name", ["fm", "dual_mlp"])  # of two tables, the first counts
def test_neighbours_are_those_with_the_largest_cosine(tmp_path, name):
    model = keep(tmp_path / "bundle", name)
    explain.main(tmp_path / "bundle", "item=item 2", top=2)
    written = pl.read_csv(tmp_path / "bundle" / "explained" / "neighbours.csv")
    table = model.embedding if name == "fm" else model.embedding[0]
    vectors = table.weight.detach().double().numpy()[5:9]
    cosines = [v @ vectors[2] / np.linalg.norm(v) / np.linalg.norm(vectors[2]) for v in vectors]
    order = sorted((n for n in range(4) if n != 2), key=lambda n: -cosines[n])[:2]
    assert written["value"].to_list() == [f"item {n}" for n in order]
    assert written["cosine"].to_list() == pytest.approx([cosines[n] for n in order])
    assert b"Nearest to item item 2" in (tmp_path / "bundle" / "explained" / "neighbours.svg").read_bytes()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("item", r"^--neighbours item: write FIELD=VALUE$"),
        ("itm=item 2", r"^unknown field 'itm'; choose one of: item, tag, user \(nearest: item\)$"),
        ("item=item2", r"^field 'item' has no value 'item2' \(nearest: item 2\)$"),
    ],
)
def test_neighbours_of_what_is_not_there_are_one_line(tmp_path, asked, message):
    keep(tmp_path / "bundle")
    with pytest.raises(ValueError, match=message):
        explain.main(tmp_path / "bundle", asked)


@pytest.mark.parametrize(
    ("name", "tables", "fields"),
    [
        ("fm", ["embedding"], FIELDS),
        ("ffm", ["embedding"], FIELDS),
        ("mf", ["embedding.user_item"], ["user", "item"]),
        ("pitf", ["embedding.tag_user_item"], ["tag", "user", "item"]),
        ("dual_mlp", ["embedding.0", "embedding.1"], FIELDS),
        ("lookup", None, None),
    ],
)
def test_embeddings_have_the_names_of_their_features(tmp_path, name, tables, fields):
    keep(tmp_path / "bundle", name)
    kept, model = read_bundle(tmp_path / "bundle")
    vocabulary = read_vocabulary(tmp_path / "bundle", kept)
    if tables is None:
        with pytest.raises(ValueError, match=r"^the model has no vector for each feature$"):
            importance.embeddings(model, vocabulary, FIELDS)
        return
    table = importance.embeddings(model, vocabulary, FIELDS)
    assert table.columns == ["field", "value", "feature_id", *tables]
    assert table["field"].unique(maintain_order=True).to_list() == fields
    row = table.row(-1, named=True)
    assert row["value"] == f"{fields[-1]} {FIELD_DIMS[FIELDS.index(fields[-1])] - 1}"
    assert row[tables[0]] == model.get_submodule(tables[0]).weight[-1].tolist()


def test_the_picture_shows_the_axes_along_which_embeddings_differ_most():
    vectors = [[0.0, 0, 0], [0, 4, 0], [0, 8, 1], [0, 12, 0]]
    table = pl.DataFrame({"field": ["a", "a", "b", "b"], "value": list("wxyz"), "feature_id": [0, 1, 2, 3]})
    points = importance.flat(table.with_columns(pl.Series("embedding", np.array(vectors))), 200)
    along = [x for field in ("a", "b") for x, _ in points[field]]
    assert [abs(b - a) for a, b in pairwise(along)] == pytest.approx([4, 4, 4], abs=0.2)


def test_the_command_writes_tables_and_pictures_without_test_rows(prepared, tmp_path, capsys):
    folder = keep_prepared(prepared, tmp_path / "bundle", "ifm", {"embed_dim": 4, "attention_dim": 2}, replace="item")
    explain.main(folder, repeats=2, params=prepared.params)
    found = folder / "explained"
    assert {file.name for file in found.iterdir()} == {
        *("fields.csv", "fields.svg", "pairs.csv", "pairs.svg", "embeddings.parquet", "embeddings.svg")
    }
    kept, _ = read_bundle(folder)
    assert sorted(pl.read_csv(found / "fields.csv")["field"]) == sorted(kept.fields)
    pairs = pl.read_csv(found / "pairs.csv")
    assert len(pairs) == len(kept.fields) * (len(kept.fields) - 1) // 2
    assert pairs["product"].is_sorted(descending=True)
    assert b"pairs with the field that negatives replace" in (found / "pairs.svg").read_bytes()
    assert "embeddings.parquet" in capsys.readouterr().out
