import json

import polars as pl
import pytest
import torch

from pipelines.data.rows import load_rows, load_schema
from pipelines.project.files import file_digest

SCHEMA = (
    b'{"dataset": "x", "fields": ["user", "item"], "field_dims": [2, 3], "num_features": 5, '
    b'"num_rows": {"train": 3, "valid": 3, "test": 3, "total": 9}, '
    b'"values": {"train": "a", "valid": "b", "test": "c"}, "seeds": {"root": 1}}'
)


@pytest.fixture
def folder(tmp_path):
    """Make a prepared data set of three rows and two fields. Field item has values."""
    columns = {"label": [1, -1, 1], "user": [0, 1, 0], "item": [2, 3, 4], "value:user": [1, 1, 1]}
    types = {"label": pl.Int8, "user": pl.Int32, "item": pl.Int32, "value:user": pl.Float32}
    table = pl.DataFrame(columns, schema=types).with_columns(pl.lit(0.5, pl.Float32).alias("value:item"))
    table.write_parquet(tmp_path / "train.parquet")
    table.select("label", "user", "item").write_parquet(tmp_path / "valid.parquet")
    digests = {f"{split}.parquet": file_digest(tmp_path / f"{split}.parquet") for split in ("train", "valid")}
    (tmp_path / "files.json").write_text(json.dumps(digests))
    return tmp_path


def test_rows_are_read_as_tensors(folder):
    rows = load_rows(folder, "train")
    assert rows.features.tolist() == [[0, 2], [1, 3], [0, 4]]
    assert rows.labels.tolist() == [1, -1, 1]
    assert rows.values.tolist() == [[1, 0.5]] * 3
    assert (rows.features.dtype, rows.labels.dtype, rows.values.dtype) == (torch.int32, torch.float32, torch.float32)
    assert len(rows) == 3
    batch = rows.batch(torch.tensor([2, 0]))
    features, values = batch.ids, batch.values
    assert (features.tolist(), values.tolist()) == ([[0, 4], [0, 2]], [[1, 0.5]] * 2)


def test_rows_without_values_have_none(folder):
    rows = load_rows(folder, "valid")
    assert rows.values is None
    features = rows.batch(slice(1, 3)).ids
    assert features.tolist() == [[1, 3], [0, 4]]


def test_the_features_of_a_field_are_groups(folder):
    rows = load_rows(folder, "valid", group=1)
    assert rows.groups.tolist() == [2, 3, 4]
    assert rows.to("cpu").groups is rows.groups
    assert load_rows(folder, "valid").groups is None


@pytest.mark.fault("data")
def test_damaged_data_is_refused_with_the_stage_to_run(folder):
    path = folder / "train.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(
        ValueError, match=r"train\.parquet is damaged \(it is not .*\): run python -m pipelines\.prepare --dataset "
    ):
        load_rows(folder, "train")
    path.unlink()
    with pytest.raises(ValueError, match=r"train\.parquet is damaged"):
        load_rows(folder, "train")


@pytest.mark.fault("data")
def test_data_that_is_not_prepared_names_the_stage_to_run(tmp_path):
    with pytest.raises(ValueError, match=r"no prepared data in .*: run python -m pipelines\.prepare --dataset "):
        load_schema(tmp_path)


@pytest.mark.fault("data")
@pytest.mark.parametrize(
    "content",
    [
        *(b"", b'{"fields": ', b"\xff\xfe", b"{}", b"[]", b"null"),
        SCHEMA.replace(b'"field_dims": [2, 3], ', b""),
        SCHEMA.replace(b"[2, 3]", b"[2, 4]"),
        SCHEMA.replace(b"[2, 3]", b"[5]"),
        SCHEMA.replace(b'"test": 3, ', b""),
        SCHEMA.replace(b', "test": "c"', b""),
        b"<<<<<<< ours\n" + SCHEMA,
    ],
)
def test_a_damaged_schema_names_its_file_and_the_stage_to_run(tmp_path, content):
    (tmp_path / "schema.json").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"schema\.json is damaged \(.*\): run python -m pipelines\.prepare --dataset "
    ):
        load_schema(tmp_path)


def test_a_whole_schema_is_read_with_all_its_keys(tmp_path):
    (tmp_path / "schema.json").write_bytes(SCHEMA)
    assert load_schema(tmp_path) == json.loads(SCHEMA)


@pytest.mark.fault("data")
@pytest.mark.parametrize("content", ["", "[]", '{"train.parquet": 3}', "{}"])
def test_damaged_digests_name_the_stage_to_run(folder, content):
    (folder / "files.json").write_text(content)
    with pytest.raises(
        ValueError, match=r"(files\.json|train\.parquet) is damaged .*: run python -m pipelines\.prepare "
    ):
        load_rows(folder, "train")
