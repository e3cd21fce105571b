"""Check that new rows are encoded as prepared ones are, and scored in their order."""

import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from bundled import keep_table

from models import registry
from pipelines import predict, prepare
from pipelines.data.fields import Fitted
from pipelines.data.fresh import encode_fresh
from pipelines.data.rows import load_rows, load_schema
from pipelines.evaluation.bundles import read_bundle, write_bundle
from pipelines.project.params import TrainingParams
from pipelines.project.provenance import made_by
from pipelines.training.loop import train
from pipelines.training.metrics import compute_metrics
from pipelines.training.predicting import predict as logits_of
from pipelines.training.small import small_arguments
from pipelines.training.start import new_model

ORIGIN = made_by("")
YAML = """
format: table
files: {train: train.csv, valid: valid.csv, test: test.csv}
separator: ";"
missing: [none]
label: click
fields:
  user: category
  shop: {kind: category, hash: 7}
  age: number
  price: {kind: number, scale: log}
  weight: {kind: number, scale: raw}
  income: {kind: number, scale: bins, bins: 4}
  hour: {kind: time, column: when}
  age_of_event: {kind: time, column: when, part: age}
  tags: {kind: list, separator: "|", max_length: 2, pooling: sum}
"""


def made_rows(num_rows, seed):
    """Draw rows with missing cells, rare values and lists."""
    rng = np.random.default_rng(seed)
    columns = {
        "user": rng.integers(40, size=num_rows),
        "shop": rng.choice(["a", "b", "c"], num_rows),
        "age": rng.integers(18, 90, num_rows),
        "price": rng.lognormal(3, 1, num_rows).round(2),
        "weight": rng.random(num_rows).round(3),
        "income": rng.integers(1000, 9000, num_rows),
        "when": rng.integers(1_600_000_000, 1_700_000_000, num_rows),
        "tags": ["|".join(map(str, rng.integers(9, size=size))) for size in rng.integers(0, 4, num_rows)],
    }
    table = pl.DataFrame({name: pl.Series(list(cells)).cast(pl.String) for name, cells in columns.items()})
    for name in columns:
        present = pl.Series(rng.random(num_rows) > 0.1)
        table = table.with_columns(pl.when(present).then(name).otherwise(pl.lit("none")).alias(name))
    return table.with_columns(click=pl.Series(rng.integers(2, size=num_rows)).cast(pl.String))


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Prepare a table of every kind of field, and bundle an untrained model for it."""
    root = tmp_path_factory.mktemp("own")
    for seed, part in enumerate(("train", "valid", "test")):
        made_rows(200 - 50 * seed, seed).write_csv(root / f"{part}.csv", separator=";")
    model = keep_table(root, "shop", YAML)
    folder = root / "data" / "processed" / "shop"
    schema = load_schema(folder)
    rows = load_rows(folder, "test")
    with torch.no_grad():
        logits = model(rows.batch(slice(None)))
    return SimpleNamespace(root=root, folder=folder, schema=schema, rows=rows, logits=logits)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Prepare a table of three fields that every model takes."""
    root, rng = tmp_path_factory.mktemp("plain"), np.random.default_rng(0)
    (root / "datasets").mkdir()
    fields = {"user": "category", "item": "category", "tag": "category"}
    files = {part: f"{part}.csv" for part in ("train", "valid", "test")}
    described = {"format": "table", "files": files, "label": "click", "fields": fields}
    (root / "datasets" / "plain.yaml").write_text(json.dumps(described))
    for part, size in (("train", 120), ("valid", 40), ("test", 60)):
        columns = {field: rng.integers(most, size=size) for field, most in (("user", 9), ("item", 12), ("tag", 5))}
        pl.DataFrame({**columns, "click": rng.integers(2, size=size)}).write_csv(root / f"{part}.csv")
    (root / "params.yaml").write_text(
        json.dumps({"seed": 1, "datasets": ["plain"], "models": ["fm"], "tune": {"num_trials": 1}})
    )
    prepare.main("plain", root / "params.yaml")
    folder = root / "data" / "processed" / "plain"
    rows = {part: load_rows(folder, part) for part in files}
    return SimpleNamespace(root=root, folder=folder, schema=load_schema(folder), rows=rows)


@pytest.mark.parametrize("name", registry.list_models())
def test_every_model_scores_the_test_rows_as_it_was_tested(plain, tmp_path, name):
    schema, rows, arguments = plain.schema, plain.rows, small_arguments(name)
    model = new_model(name, schema, arguments, 0)
    train(model, rows["train"], rows["valid"], TrainingParams(max_epochs=1, batch_size=64, loss="cross_entropy"))
    tested = compute_metrics(logits_of(model, rows["test"]), rows["test"].labels, "cross_entropy")
    about = {"dataset": "plain", "licence": "", "citation": "", "seed": 0, "valid": {}, "test": {}}
    about |= {key: schema[key] for key in ("fields", "field_dims", "fitted")} | {"made_by": ORIGIN}
    about |= {"model": name, "arguments": arguments, "loss": "cross_entropy"}
    write_bundle(tmp_path / "bundle", model, plain.folder / "vocabulary.parquet", **about)
    predict.main(str(plain.root / "test.csv"), tmp_path / "bundle", tmp_path / "scores.csv", keep="click")
    found = pl.read_csv(tmp_path / "scores.csv")
    expected = torch.sigmoid(logits_of(model, rows["test"]).double())
    assert found["probability"].to_list() == pytest.approx(expected.tolist(), abs=1e-6)
    labels, logits = torch.from_numpy(2.0 * found["click"].to_numpy() - 1), torch.logit(found["probability"].to_torch())
    for name in ("rmse", "logloss"):  # the AUC of rows that repeat hangs on their last digit
        assert compute_metrics(logits, labels, "cross_entropy")[name] == pytest.approx(tested[name], abs=1e-6)


def scored(own, rows, out="scores.csv", **options):
    predict.main(str(rows), own.root / "bundle", own.root / out, **options)
    return pl.read_parquet(own.root / out) if out.endswith(".parquet") else pl.read_csv(own.root / out)


@pytest.mark.parametrize("piece", [1 << 17, 7])
def test_test_rows_have_the_scores_that_they_were_tested_with(own, monkeypatch, piece):
    monkeypatch.setattr(predict, "PIECE", piece)
    found = scored(own, own.root / "test.csv")
    assert found["probability"].to_list() == pytest.approx(torch.sigmoid(own.logits).tolist(), abs=1e-6)
    assert found["user"].len() == 100
    again = torch.logit(torch.tensor(found["probability"].to_numpy(), dtype=torch.float64))
    tested = compute_metrics(own.logits, own.rows.labels, "cross_entropy")
    assert compute_metrics(again, own.rows.labels, "cross_entropy")["logloss"] == pytest.approx(
        tested["logloss"], abs=1e-6
    )


def test_every_kind_of_field_is_encoded_as_it_was_prepared(own):
    table = pl.read_csv(own.root / "test.csv", separator=";", infer_schema=False)
    table = table.select(pl.when(pl.all() != "none").then(pl.all()))
    fitted = {field: Fitted(**each) for field, each in own.schema["fitted"].items()}
    vocabulary = pl.read_parquet(own.folder / "vocabulary.parquet")
    fresh = encode_fresh(table, own.schema["fields"], fitted, vocabulary)
    is_list = own.schema["fields"].index("tags")
    others = [place for place in range(len(own.schema["fields"])) if place != is_list]
    assert torch.equal(fresh.features[:, others], own.rows.features[:, others])
    assert torch.equal(fresh.values, own.rows.values)

    def elements(rows):
        bags, numbers = rows.bags, rows.features[:, is_list].long() - rows.bags.first
        return [bags.elements[bags.offsets[n] : bags.offsets[n + 1]].tolist() for n in numbers]

    assert elements(fresh) == elements(own.rows)


def test_columns_that_are_named_are_kept_in_the_order_of_the_rows(own):
    kept = scored(own, own.root / "test.csv", "scores.parquet", keep="when, user")
    assert kept.columns == ["when", "user", "probability"]
    rows = pl.read_csv(own.root / "test.csv", separator=";", infer_schema=False)
    assert kept["user"].to_list() == [None if user == "none" else user for user in rows["user"]]


def test_rows_without_a_label_and_with_new_values_are_scored(own):
    row = {"user": "never seen", "shop": "new", "age": "1e3", "price": "", "weight": "0", "income": "-5", "when": "0"}
    file = own.root / "new.csv"
    pl.DataFrame({**row, "tags": "8|never seen|3"}).write_csv(file, separator=";")
    (score,) = scored(own, file)["probability"]
    assert 0 < score < 1


@pytest.mark.parametrize("separator", [b";", b","])
def test_rows_come_from_standard_input_as_the_data_set_s_files_are_or_with_commas(own, monkeypatch, separator):
    content = (own.root / "test.csv").read_bytes().replace(b";", separator)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    assert scored(own, "-", "from_input.csv").equals(scored(own, own.root / "test.csv"))


@pytest.fixture(scope="module")
def with_sides(tmp_path_factory):
    """Bundle a model for a log with two side tables.

    The key of the second is a column of the first.
    """
    root = tmp_path_factory.mktemp("sides")
    rows = pl.DataFrame({"user": [f"u{n % 9}" for n in range(90)], "click": [n // 9 % 2 for n in range(90)]})
    for part in ("train", "valid", "test"):
        rows.write_csv(root / f"{part}.csv")
    users = pl.DataFrame({"user": [f"u{n}" for n in range(9)], "town": [f"t{n % 3}" for n in range(9)], "name": "x"})
    towns = pl.DataFrame({"town": [f"t{n}" for n in range(3)], "land": ["north", "south", "south"]})
    users.write_csv(root / "users.csv")
    towns.write_csv(root / "towns.csv")
    described = {"format": "table", "files": {part: f"{part}.csv" for part in ("train", "valid", "test")}}
    joins = [{"files": ["users.csv"], "key": "user"}, {"files": ["towns.csv"], "key": "town"}]
    described |= {"joins": joins, "label": "click", "fields": {"user": "category", "land": "category"}}
    keep_table(root, "visits", json.dumps(described))
    for file in ("users.csv", "towns.csv"):
        (root / file).unlink()  # the bundle has what it needs of them
    return SimpleNamespace(root=root, users=users, towns=towns)


def test_columns_of_side_tables_are_joined_as_they_were_prepared(with_sides, monkeypatch):
    monkeypatch.setattr(predict, "PIECE", 7)
    own = with_sides
    rows = pl.read_csv(own.root / "test.csv")
    rows.join(own.users, on="user").join(own.towns, on="town").write_csv(own.root / "joined.csv")
    found = scored(own, own.root / "test.csv")
    assert found.columns == ["user", "click", "probability"]
    whole = scored(own, own.root / "joined.csv", "whole.csv")
    assert found["probability"].to_list() == whole["probability"].to_list()
    assert found["probability"].n_unique() > 3
    assert "name" not in pl.read_parquet(own.root / "bundle" / "side-1.parquet").columns


def test_rows_without_the_key_of_a_side_table_are_one_line(with_sides):
    own = with_sides
    pl.DataFrame({"usr": ["u1"]}).write_csv(own.root / "wrong.csv")
    with pytest.raises(
        ValueError, match=r"^wrong\.csv needs the column user, by which a side table is joined, or town$"
    ):
        scored(own, own.root / "wrong.csv", "none.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user": "usr"}, r"column of field 'user' in wrong\.csv.*'user'.*usr"),
        ({"age": "Age"}, r"column of field 'age' in wrong\.csv.*'age'.*Age"),
    ],
)
def test_a_missing_column_is_named_with_those_there_are(own, change, message):
    pl.read_csv(own.root / "test.csv", separator=";").rename(change).write_csv(own.root / "wrong.csv", separator=";")
    with pytest.raises(ValueError, match=message):
        scored(own, own.root / "wrong.csv", "none.csv")
    assert not (own.root / "none.csv").exists()


def test_a_cell_that_can_t_be_read_is_named(own):
    table = pl.read_csv(own.root / "test.csv", separator=";", infer_schema=False)
    table.with_columns(age=pl.lit("old")).write_csv(own.root / "bad.csv", separator=";")
    with pytest.raises(ValueError, match=r"^field age: row 1 has 'old', which is no finite number$"):
        scored(own, own.root / "bad.csv", "none.csv")


def test_a_line_with_too_few_cells_is_named(own):
    lines = (own.root / "test.csv").read_text().splitlines()
    (own.root / "short.csv").write_text("\n".join([*lines[:4], lines[4].rpartition(";")[0]]))
    with pytest.raises(ValueError, match=r"short\.csv:5: 8 cells, but the first line has 9$"):
        scored(own, own.root / "short.csv", "none.csv")
    assert not (own.root / "none.csv").exists()


def test_rows_are_scored_some_at_a_time(own, monkeypatch):
    monkeypatch.setattr(predict, "PIECE", 7)
    kept, model = read_bundle(own.root / "bundle")
    rows = (
        made_rows(20, 0)
        .with_columns(pl.all().replace("none", None))
        .with_columns(age=pl.Series(["30"] * 7 + ["old"] * 13))
    )
    pieces = predict.score(rows.lazy(), kept, model, own.root / "bundle")
    assert next(pieces).height == 7
    with pytest.raises(ValueError, match=r"^after the first 7 rows: field age: row 1 has 'old'"):
        next(pieces)


def test_a_text_that_a_log_lacks_is_left_out():
    vocabulary = pl.DataFrame({"field": ["user", "user", "item"], "raw_value": ["a", "b", "x"]})
    table = pl.DataFrame({"item": ["x", "y", None], "user": ["b", "a", "c"]})
    rows = encode_fresh(table, ["user", "item"], {}, vocabulary)
    assert rows.features.tolist() == [[1, 2], [0, 2], [0, 2]]
    assert rows.values.tolist() == [[1, 1], [1, 0], [0, 0]]
