"""Check that exported models give the probabilities of their bundles."""

import os
from pathlib import Path

import numpy as np
import onnxruntime
import polars as pl
import pytest
import torch
from bundled import IDS, keep, keep_table

from models import registry
from models.layers.batch import Batch
from pipelines import export, predict
from pipelines.data.fresh import features_of_fresh, list_places, names_by_field, padded
from pipelines.evaluation.bundles import probabilities, read_bundle
from pipelines.evaluation.calibration import Calibration
from pipelines.export import Format, Vocabulary
from pipelines.predict import corrected

ROOT = Path(__file__).parents[2]
NOT_IN_ONNX = ("lookup", "catboost")  # torch.searchsorted
MODELS = (
    [name for name in registry.list_models() if name not in NOT_IN_ONNX] if os.environ.get("EXPORT_ALL") else ["nfm"]
)
MAPS = {
    "platt": Calibration(method="platt", rate=0.5, slope=2.0, intercept=-1.0),
    "isotonic": Calibration(method="isotonic", rate=0.5, logits=[-0.1, 0.0, 0.2], points=[0.1, 0.3, 0.8]),
}
CASES = [("ifm", "onnx", "cross_entropy", "isotonic", 0.01), ("fm", "torch", "squared_error", "platt", 0.01)]
CASES += [(name, "onnx", "squared_error", None, None) for name in MODELS]
YAML = """
format: table
files: [rows.csv]
missing: [none]
label: click
fields:
  user: category
  age: number
  price: {kind: number, scale: log}
  income: {kind: number, scale: bins, bins: 4}
  hour: {kind: time, column: when}
  days: {kind: time, column: when, part: age}
  tags: {kind: list, max_length: 2, pooling: sum}
  genres: {kind: list, separator: " "}
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Bundle an untrained fm for fields of every kind; return its folder, rows as text, and what `predict` says."""
    root, rng = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    columns = {
        "user": rng.choice(["ann", "bob", "once", "none", "12"], 200),
        "age": rng.integers(18, 90, 200),
        "price": rng.lognormal(3, 1, 200).round(2),
        "income": rng.integers(1000, 9000, 200),
        "when": rng.integers(1_600_000_000, 1_700_000_000, 200),
        "tags": ["|".join(rng.choice(["a", "b", "c", "d"], size)) for size in rng.integers(0, 4, 200)],
        "genres": [" ".join(rng.choice(["x", "y"], size)) for size in rng.integers(0, 3, 200)],
        "click": rng.integers(2, size=200),
    }
    table = pl.DataFrame({name: pl.Series(list(cells)).cast(pl.String) for name, cells in columns.items()})
    for name, row in (("age", 0), ("income", 1), ("when", 2)):
        table[row, name] = "none"
    table.write_csv(root / "rows.csv")
    keep_table(root, "shop", YAML)
    unknown = table.head(40).with_columns(user=pl.lit("eve"), tags=pl.lit("e|a"))
    pl.concat([table, unknown]).write_csv(root / "rows.csv")
    predict.main(str(root / "rows.csv"), root / "bundle", root / "scores.parquet")
    return root / "bundle", pl.concat([table, unknown]), pl.read_parquet(root / "scores.parquet")["probability"]


def expected(folder, ids, values, prior=None):
    bundle, model = read_bundle(folder)
    with torch.no_grad():
        logits = model(Batch(torch.tensor(ids), torch.tensor(values)))
        return corrected(probabilities(logits, bundle.loss, bundle.calibration), bundle, prior).numpy()


def exported(folder, format, **options):
    export.main(folder, Format(format), **options)
    if format == "torch":
        model = torch.export.load(folder / "model.pt2").module()
        return lambda *given: model(*map(torch.tensor, given)).detach().numpy()
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    return lambda *given: session.run(["probability"], dict(zip(("ids", "values", "lists"), given, strict=False)))[0]


@pytest.mark.parametrize(("name", "format", "loss", "method", "prior"), CASES)
def test_an_exported_model_gives_the_probabilities_of_its_bundle(tmp_path, name, format, loss, method, prior):
    keep(tmp_path / "bundle", name, loss=loss, calibration=MAPS.get(method), rate=0.4)
    score = exported(tmp_path / "bundle", format, prior=prior)
    rows = np.tile(IDS.numpy(), (3, 1))[:7]  # another number than it was traced with
    values = np.random.default_rng(0).random(rows.shape, dtype=np.float32)
    values[0, 1] = 0
    for ids, weights in ((rows, values), (rows[:1], np.ones((1, 3), np.float32))):
        assert score(ids, weights) == pytest.approx(expected(tmp_path / "bundle", ids, weights, prior), abs=1e-5)


@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_an_exported_model_takes_the_lists_of_rows_padded(own, format):
    folder, table, scores = own
    bundle, _ = read_bundle(folder)
    names = names_by_field(pl.read_parquet(folder / "vocabulary.parquet"))
    text = table.select(pl.when(pl.all().is_in(["", "none"]).not_()).then(pl.all()))
    ids, values, found = features_of_fresh(text, bundle.fields, bundle.fitted, names)
    places = list_places(bundle.fields, bundle.fitted)
    lists = padded(ids[:, places], found, sum(bundle.field_dims))
    assert places == [6, 7]
    assert lists.shape == (len(table), 2, 2)
    score = exported(folder, format)
    assert score(ids, values, lists) == pytest.approx(scores.to_numpy(), abs=1e-5)
    starts = np.cumsum([0, *bundle.field_dims[:-1]], dtype=np.int32)
    missing, empty = [[[starts[6] + 1], [starts[7] + 1]]], [[[-1], [-1]]]
    both = [score(starts[None], values[:1], np.array(lists, np.int32)) for lists in (missing, empty)]
    assert both[0] == both[1]


def test_the_vocabulary_inside_takes_texts_and_numbers_as_rows_have_them(own):
    folder, table, scores = own
    export.main(folder, vocabulary=Vocabulary.inside)
    session = onnxruntime.InferenceSession(folder / "names.onnx")
    when = table["when"].cast(pl.Int64, strict=False)
    given = {
        "user": table["user"].to_numpy().astype(object),
        **{name: table[name].cast(pl.Float64, strict=False).to_numpy() for name in ("age", "price", "income")},
        "hour": pl.from_epoch(when).dt.hour().cast(pl.String).fill_null("").to_numpy().astype(object),
        "days": (when / -86_400).to_numpy(),
        "tags": np.array([(text.split("|") + [""] * 3)[:3] for text in table["tags"]], dtype=object),
        "genres": np.array([(text.split() + [""] * 2)[:2] for text in table["genres"]], dtype=object),
    }
    found = session.run(["probability"], {name: cells.copy() for name, cells in given.items()})[0]
    assert found == pytest.approx(scores.to_numpy(), abs=1e-5)
    assert len({*scores}) > 100


def test_what_the_docs_show_scores_rows_and_leaves_a_log_s_unknown_texts_out(tmp_path, monkeypatch, capsys):
    keep(tmp_path / "DIR")
    export.main(tmp_path / "DIR", vocabulary=Vocabulary.inside)
    (tmp_path / "new.csv").write_text("user,item,tag,more\nuser 4,item 3,tag 2,1\neve,item 1,,2\n")
    monkeypatch.chdir(tmp_path)
    code = (ROOT / "docs" / "use.md").read_text().split("```python\n")[1]
    shown = {}
    exec(code.split("```")[0], shown)
    found = shown["session"].run(None, shown["given"])[0]
    ids, values = np.array([[4, 8, 11], [0, 6, 9]], np.int32), np.array([[1, 1, 1], [0, 1, 0]], np.float32)
    assert found == pytest.approx(expected(tmp_path / "DIR", ids, values), abs=1e-5)
    assert str(found) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "fitted", "message"),
    [
        ({"format": Format.torch}, {}, r"^--vocabulary inside: torch\.export knows no texts; choose --format onnx$"),
        ({}, {"kind": "category", "hash": 4}, r"^field user has hashed values, and ONNX has no such hash: export with"),
    ],
)
def test_a_vocabulary_that_can_t_be_inside_is_refused(tmp_path, options, fitted, message):
    keep(tmp_path / "bundle", fitted={"user": {"column": fitted}} if fitted else {})
    with pytest.raises(ValueError, match=message):
        export.main(tmp_path / "bundle", vocabulary=Vocabulary.inside, **options)


def test_what_onnx_lacks_is_one_line_and_nothing_is_written(tmp_path):
    keep(tmp_path / "bundle", "lookup")
    with pytest.raises(ValueError, match=r"^ONNX can't express the model: .*searchsorted.*; try --format torch$"):
        export.main(tmp_path / "bundle")
    assert not (tmp_path / "bundle" / "model.onnx").exists()


def test_a_model_that_comes_out_differently_is_not_written(tmp_path, monkeypatch):
    keep(tmp_path / "bundle")
    real = export.to_torch
    monkeypatch.setattr(export, "to_torch", lambda *given: (b"", 0.01 + (found := real(*given)[2]), found))
    with pytest.raises(ValueError, match=r"^fm as torch gives other probabilities: they differ by 1\.0e-02$"):
        export.main(tmp_path / "bundle", Format.torch)
    assert not (tmp_path / "bundle" / "model.pt2").exists()
