"""Check that a bundle gives the model put in, and that others are refused."""

import json
import pickle
import shutil

import polars as pl
import pytest
import torch
from bundled import FIELDS, IDS, keep

from models.layers.batch import Batch
from pipelines.evaluation.bundles import RECORD, VOCABULARY, WEIGHTS, probabilities, read_bundle, read_vocabulary
from pipelines.project.files import file_digest


def test_a_bundle_gives_the_model_that_was_put_in(tmp_path):
    model = keep(tmp_path / "bundle")
    bundle, again = read_bundle(tmp_path / "bundle")
    assert (bundle.model, bundle.fields, bundle.test) == ("fm", FIELDS, {"auc": 0.8})
    with torch.no_grad():
        assert torch.equal(again(Batch(IDS)), model(Batch(IDS)))


def test_logits_become_probabilities_of_the_loss():
    logits = torch.tensor([-3.0, -0.5, 0.0, 0.5, 3.0])
    assert probabilities(logits, "cross_entropy").tolist() == pytest.approx(torch.sigmoid(logits).tolist())
    assert probabilities(logits, "squared_error").tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def refused(folder):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the callers look at the text
        read_bundle(folder)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("name", [WEIGHTS, VOCABULARY])
def test_a_damaged_missing_or_foreign_file_is_named(tmp_path, name):
    keep(tmp_path / "one")
    keep(tmp_path / "two", seed=4)
    pl.DataFrame({"other": [1]}).write_parquet(tmp_path / "two" / VOCABULARY)
    file = tmp_path / "one" / name
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert refused(tmp_path / "one").startswith(f"{file} is damaged or of another bundle")
    shutil.copy(tmp_path / "two" / name, file)
    assert refused(tmp_path / "one").startswith(f"{file} is damaged or of another bundle")
    file.unlink()
    assert refused(tmp_path / "one") == f"{tmp_path / 'one'} is no whole bundle: {name} is missing"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"version": 2}, "version: Input should be 1"),
        ({"model": "nonesuch"}, "unknown model 'nonesuch'"),
        ({"arguments": {"embed_dim": 7}}, "does not fit fm of this version"),
        ({"arguments": {"sizes": 7}}, "fm has no hyperparameter 'sizes'"),
        ({"model": "lr", "arguments": {}}, "does not fit lr of this version"),
        ({"field_dims": [5, 4, 10**12]}, "does not fit fm of this version: it has too few weights"),
        ({"arguments": {"embed_dim": 10**12}}, "does not fit fm of this version: it has too few weights"),
        ({"field_dims": [5, 4]}, "fields and field_dims don't fit together"),
        ({"field_dims": [5, 7, 0]}, "fields and field_dims don't fit together"),
        ({"fields": ["user", "item", "item"]}, "fields and field_dims don't fit together"),
        ({"files": {}}, "files lacks model.safetensors"),
        ({"fitted": {"tag": {"column": {"hash": 10**9}}}}, "fitted: tag does not have 3 features"),
        ({"fitted": {"tag": {"column": {"kind": "number"}}}}, "fitted: tag does not have 3 features"),
        ({"fitted": {"tag": {"column": {"kind": "number", "scale": "bins"}}}}, "fitted: tag does not have 3 features"),
    ],
)
def test_a_record_of_another_version_or_model_is_refused(tmp_path, change, why):
    keep(tmp_path / "bundle")
    record = tmp_path / "bundle" / RECORD
    record.write_text(json.dumps({**json.loads(record.read_text()), **change}))
    assert why in refused(tmp_path / "bundle")


def sealed(folder, name, content):
    """Put other content into a file, and its digest into the record."""
    (folder / name).write_bytes(content)
    record = json.loads((folder / RECORD).read_text())
    record["files"][name] = file_digest(folder / name)
    (folder / RECORD).write_text(json.dumps(record))


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b'{"version": 1}', b"\xff", b"PK\x03\x04"])
def test_a_record_that_is_none_is_one_line(tmp_path, content):
    keep(tmp_path / "bundle")
    (tmp_path / "bundle" / RECORD).write_bytes(content)
    assert refused(tmp_path / "bundle").startswith(f"{tmp_path / 'bundle' / RECORD} is damaged (")
    assert refused(tmp_path / "renamed") == f"no {tmp_path / 'renamed' / RECORD}: run factorbench bundle again"


@pytest.mark.parametrize("content", [b"", b"\xff" * 100_000, b"\x08\0\0\0\0\0\0\0[[[[[[[[" + b"\0" * 10_000])
def test_weights_that_are_none_are_one_line(tmp_path, content):
    keep(tmp_path / "bundle")
    sealed(tmp_path / "bundle", WEIGHTS, content)
    assert "does not fit fm of this version" in refused(tmp_path / "bundle")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda table: b"PAR1" + pickle.dumps(table.rows()), "is no vocabulary: "),
        (lambda table: table.rename({"raw_value": "other"}), "is no vocabulary: "),
        (lambda table: table[:-1], f"does not fit {RECORD}: it has other features"),
        (lambda table: table.reverse(), f"does not fit {RECORD}: it has other features"),
        (
            lambda table: table.with_columns(pl.lit(1).alias("raw_value")),
            f"does not fit {RECORD}: it has other features",
        ),
    ],
)
def test_a_vocabulary_that_is_none_or_another_is_one_line(tmp_path, change, why):
    folder = tmp_path / "bundle"
    keep(folder)
    kept, _ = read_bundle(folder)
    assert read_vocabulary(folder, kept)["raw_value"].to_list()[-1] == "tag 2"
    other = change(pl.read_parquet(folder / VOCABULARY))
    if isinstance(other, pl.DataFrame):
        other.write_parquet(folder / "other.parquet")
        other = (folder / "other.parquet").read_bytes()
    sealed(folder, VOCABULARY, other)
    kept, _ = read_bundle(folder)
    with pytest.raises(ValueError, match=why) as caught:
        read_vocabulary(folder, kept)
    assert len(str(caught.value).splitlines()) == 1


def test_nothing_in_a_bundle_is_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "taken"), "w"))

    keep(tmp_path / "bundle")
    sealed(tmp_path / "bundle", WEIGHTS, pickle.dumps(Evil()) + bytes(10_000))
    assert "does not fit fm" in refused(tmp_path / "bundle")
    assert not (tmp_path / "taken").exists()


def test_the_record_is_whole_or_not_there(tmp_path, monkeypatch):
    keep(tmp_path / "bundle")
    monkeypatch.setattr(shutil, "copyfile", lambda *_: pytest.fail("as on a full disk"))
    with pytest.raises(pytest.fail.Exception):
        keep(tmp_path / "bundle", seed=4)
    assert not (tmp_path / "bundle" / RECORD).exists()
