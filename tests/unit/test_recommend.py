"""Check that recommended values are the best of all, and not known."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from bundled import FIELD_DIMS, FIELDS, keep, keep_prepared, keep_table

from models import registry
from pipelines import predict as score
from pipelines import recommend
from pipelines.data.fields import OTHER
from pipelines.data.own import Column
from pipelines.data.rows import Rows, load_rows
from pipelines.evaluation import candidates
from pipelines.evaluation.bundles import probabilities, read_bundle, read_vocabulary
from pipelines.evaluation.candidates import AFFINE, score_candidates
from pipelines.training.predicting import predict
from pipelines.training.start import new_model

ITEMS = torch.arange(5, 9, dtype=torch.int32)


def slow(model, context, features):
    """Score each candidate as a row of its own."""
    rows = []
    for feature in features:
        ids, values = context.features.clone(), None if context.values is None else context.values.clone()
        ids[0, 1] = feature
        if values is not None:
            values[0, 1] = 1
        rows.append(predict(model, Rows(ids, torch.zeros(1), values), kernels=False).item())
    return rows


@pytest.mark.parametrize("name", [*AFFINE, "mf", "nfm", "ifm", "lookup"])
def test_candidates_have_the_logits_of_their_rows(tmp_path, name):
    model = keep(tmp_path / "bundle", name)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    for values in (None, torch.tensor([[1.0, 0, 0.5]])):
        context = Rows(torch.tensor([[3, 5, 10]], dtype=torch.int32), torch.zeros(1), values)
        found = score_candidates(model, name, context, 1, ITEMS)
        assert found.tolist() == pytest.approx(slow(model, context, ITEMS), rel=1e-4, abs=1e-5)


def test_the_models_of_one_product_are_those_whose_logit_is_affine_in_a_feature(monkeypatch):
    monkeypatch.setattr(candidates, "AFFINE", registry.list_models())
    context, affine = Rows(torch.tensor([[3, 5, 10]], dtype=torch.int32), torch.zeros(1)), []
    for name in ("lr", "fm", "ffm", "nfm", "ifm", "dcn"):
        model = new_model(name, {"fields": FIELDS, "field_dims": FIELD_DIMS}, {}, 0).eval()
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(std=0.5)
        product = score_candidates(model, name, context, 1, ITEMS).numpy()
        if np.allclose(product, slow(model, context, ITEMS), rtol=1e-3, atol=1e-4):
            affine.append(name)
    assert affine == ["lr", "fm", "ffm"]


def texts(folder, row):
    """Return a row of features as COLUMN=VALUE, without the item."""
    names = pl.read_parquet(folder / "vocabulary.parquet")["raw_value"]
    fields = read_bundle(folder)[0].fields
    return [f"{field}={names[n]}" for field, n in zip(fields, row.tolist(), strict=True) if field != "item"]


@pytest.fixture(scope="module")
def bundle(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recommend") / "bundle"
    return keep_prepared(prepared, folder, "fm", replace="item", given=["user"])


def test_the_best_of_all_unknown_values_come_first(prepared, bundle, tmp_path, capsys):
    processed = prepared.root / "data" / "processed" / "synthetic"
    train = load_rows(processed, "train")
    kept, model = read_bundle(bundle)
    names, place = pl.read_parquet(bundle / "vocabulary.parquet")["raw_value"], kept.fields.index("item")
    first = sum(kept.field_dims[:place])
    row = train.features[0]
    recommend.main(bundle, texts(bundle, row), top=5, out=tmp_path / "found.csv", params=prepared.params)
    assert f"{kept.field_dims[place]:,} values of item ranked in" in capsys.readouterr().err
    mine = (train.features[:, kept.fields.index("user")] == row[kept.fields.index("user")]) & (train.labels > 0)
    known = set(train.features[mine, place].tolist())
    assert known
    every = row.repeat(kept.field_dims[place], 1)
    every[:, place] = torch.arange(first, first + kept.field_dims[place])
    logits = predict(model, Rows(every, torch.zeros(len(every))))
    order = [n for n in logits.argsort(descending=True).tolist() if first + n not in known][:5]
    found = pl.read_csv(tmp_path / "found.csv", schema_overrides={"item": pl.String})
    assert found["item"].to_list() == [names[first + n] for n in order]
    assert found["probability"].to_list() == pytest.approx(
        probabilities(logits[order].double(), kept.loss).tolist(), abs=1e-6
    )


def test_a_file_of_contexts_gives_each_its_own_values(prepared, bundle, tmp_path):
    rows = load_rows(prepared.root / "data" / "processed" / "synthetic", "valid").features[:3]
    cells = [dict(text.split("=") for text in texts(bundle, row)) for row in rows]
    pl.DataFrame(cells).write_csv(tmp_path / "rows.csv")
    out = tmp_path / "found.parquet"
    recommend.main(bundle, rows=tmp_path / "rows.csv", top=3, out=out, params=prepared.params)
    found = pl.read_parquet(out)
    assert found["row"].to_list() == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    for number, row in enumerate(rows):
        recommend.main(bundle, texts(bundle, row), top=3, out=tmp_path / "one.parquet", params=prepared.params)
        assert (
            pl.read_parquet(tmp_path / "one.parquet")
            .drop("row")
            .equals(found.filter(pl.col("row") == number + 1).drop("row"))
        )


def test_candidates_of_a_file_bring_their_own_columns(tmp_path, capsys):
    keep(tmp_path / "bundle", "fm")
    items = pl.DataFrame({"item": ["item 1", "item 3", "item 1"], "tag": ["tag 0", "tag 2", "tag 1"], "other": "x"})
    items.write_csv(tmp_path / "items.csv")
    out = tmp_path / "found.csv"
    recommend.main(tmp_path / "bundle", ["user=user 2"], "item", candidates=tmp_path / "items.csv", out=out)
    found = dict(pl.read_csv(out).select("item", "probability").iter_rows())
    kept, model = read_bundle(tmp_path / "bundle")
    rows = torch.tensor([[2, 6, 9], [2, 8, 11]], dtype=torch.int32)
    expected = probabilities(predict(model, Rows(rows, torch.zeros(2))).double(), kept.loss)
    assert found == pytest.approx(dict(zip(["item 1", "item 3"], expected.tolist(), strict=True)))
    assert "no value" not in capsys.readouterr().err


def test_a_user_that_training_lacks_knows_nothing(prepared, bundle, tmp_path, capsys):
    outs = [tmp_path / "unknown.csv", tmp_path / "none.csv"]
    recommend.main(bundle, ["user=nobody"], out=outs[0], params=prepared.params)
    assert "taken as missing" in capsys.readouterr().err
    recommend.main(bundle, ["user="], out=outs[1], params=tmp_path / "params.yaml")
    assert "known values are not left out: no prepared data" in capsys.readouterr().err
    assert outs[0].read_text() == outs[1].read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"^write what is known as COLUMN=VALUE, or name a file: --rows FILE$"),
        ({"context": ["user"], "field": "item"}, r"^'user': write COLUMN=VALUE$"),
        ({"context": ["usr=1"], "field": "item"}, r"^unknown column 'usr'; choose one of: item, tag, user \(nearest"),
        ({"context": ["user=1"]}, r"^--field: name the field to fill in; choose one of: user, item, tag$"),
        ({"context": ["user=1"], "field": "itm"}, r"^unknown field 'itm'; .*\(nearest: item\)$"),
        ({"context": ["user=1"], "field": "tag"}, r"^--field tag: it has hashed values; only a category"),
        ({"context": ["user=1"], "field": "item", "given": "u"}, r"^unknown field of --given 'u'"),
    ],
)
def test_what_can_t_be_recommended_is_one_line(tmp_path, arguments, message):
    keep(tmp_path / "bundle", fitted={"tag": {"column": Column(hash=2)}})
    with pytest.raises(ValueError, match=message):
        recommend.main(tmp_path / "bundle", **arguments)


def test_rare_users_share_a_feature_and_know_nothing(tmp_path):
    model = keep(tmp_path / "bundle")
    kept, _ = read_bundle(tmp_path / "bundle")
    vocabulary = read_vocabulary(tmp_path / "bundle", kept)
    train = Rows(torch.tensor([[0, 5, 9], [1, 5, 9]], dtype=torch.int32), torch.ones(2))
    rare = vocabulary.with_columns(pl.col("raw_value").replace({"user 0": OTHER}))
    for names, user, known in ((vocabulary, "user 0", True), (rare, OTHER, False), (rare, "user 1", True)):
        ranker = candidates.Ranker(kept, model, names, "item", None, train, ["user"])
        values, _ = ranker.rank(pl.DataFrame({"user": [user], "tag": ["tag 0"]}), 9)
        assert ("item 0" in values) != known
        assert len(values) == 4 - known


def test_side_tables_describe_the_user_and_the_candidates(tmp_path):
    """Compare with rows that have all columns."""
    rows = [{"user": f"u{n % 6}", "item": f"i{n % 7}", "click": n % 3 % 2} for n in range(84)]
    log = pl.DataFrame(rows)
    users = pl.DataFrame({"user": [f"u{n}" for n in range(6)], "land": ["north", "south"] * 3})
    items = pl.DataFrame({"item": [f"i{n}" for n in range(8)], "kind": ["a", "b"] * 4})  # i7 is not in the log
    users.write_csv(tmp_path / "users.csv")
    items.write_csv(tmp_path / "items.csv")
    for part in ("train", "valid", "test"):
        log.write_csv(tmp_path / f"{part}.csv")
    described = {"format": "table", "files": {part: f"{part}.csv" for part in ("train", "valid", "test")}}
    described["joins"] = [{"files": ["users.csv"], "key": "user"}, {"files": ["items.csv"], "key": "item"}]
    described |= {"label": "click", "fields": dict.fromkeys(("user", "item", "land", "kind"), "category")}
    keep_table(tmp_path, "visits", json.dumps(described))
    bundle, params = tmp_path / "bundle", tmp_path / "params.yaml"
    recommend.main(bundle, ["user=u1"], field="item", top=20, out=tmp_path / "found.csv", params=params)
    whole = pl.DataFrame({"user": "u1", "item": items["item"][:7]}).join(users, on="user").join(items, on="item")
    whole.write_csv(tmp_path / "whole.csv")
    score.main(str(tmp_path / "whole.csv"), bundle=bundle, out=tmp_path / "scores.csv")
    expected = dict(pl.read_csv(tmp_path / "scores.csv").select("item", "probability").iter_rows())
    found = dict(pl.read_csv(tmp_path / "found.csv").select("item", "probability").iter_rows())
    assert found == pytest.approx(expected, abs=1e-6)
    assert list(found.values()) == sorted(found.values(), reverse=True)
