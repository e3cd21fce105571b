"""Check that the Python API scores as the commands do, and names wrong input."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from bundled import keep

import factorbench
from pipelines import predict
from pipelines.data.own import OwnDataset
from pipelines.project.records import check, parse_yaml

ROWS = pl.DataFrame({"user": ["user 0", "user 1", None], "item": ["item 0", "", "item 3"], "tag": ["tag 1"] * 3})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api") / "bundle"
    keep(folder)
    return factorbench.load(folder)


@pytest.mark.parametrize(
    "rows",
    [ROWS, ROWS.lazy(), ROWS.to_pandas(), ROWS.to_dict(as_series=False), ROWS.select("tag", "user", "item")],
    ids=["polars", "lazy", "pandas", "dict", "other order"],
)
def test_any_frame_has_the_scores_of_the_command(model, tmp_path, rows):
    ROWS.write_parquet(tmp_path / "rows.parquet")
    predict.main(str(tmp_path / "rows.parquet"), model.folder, tmp_path / "scores.parquet")
    expected = pl.read_parquet(tmp_path / "scores.parquet")["probability"]
    assert expected.n_unique() == 3
    assert model.predict(rows).equals(expected)


def test_a_model_is_copied_whole(model, tmp_path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "bundle.json").write_text("of another bundle")
    model.save(tmp_path / "copy")
    again = factorbench.load(str(tmp_path / "copy"))
    assert again.about == model.about
    assert again.predict(ROWS).equals(model.predict(ROWS))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (3, r"^rows are no data frame: "),
        (pl.DataFrame({"user": [object()]}), r"^column user holds Python objects: make them texts or numbers$"),
        (ROWS.drop("item"), r"^unknown column of field 'item' 'item'; choose one of: tag, user$"),
    ],
)
def test_what_is_no_frame_of_the_fields_is_one_line(model, rows, message):
    with pytest.raises(ValueError, match=message):
        model.predict(rows)


def test_what_is_no_number_is_missing():
    rows = pl.DataFrame({"age": [float("nan"), 1.5], "user": [1, 2]})
    for frame in (rows, rows.to_pandas()):
        assert factorbench.table_of(frame).rows() == [(None, 1), (1.5, 2)]


def described(tmp_path, *arguments, **keys):
    rng = np.random.default_rng(0)
    user, click = rng.integers(9, size=60), rng.integers(2, size=60)
    pl.DataFrame({"user": user, "when": range(60), "click": click}).write_parquet(tmp_path / "rows.parquet")
    content = parse_yaml(factorbench.describe(tmp_path / "rows.parquet", "rows", *arguments, keys))
    return check(OwnDataset, {**content, "name": "rows", "folder": tmp_path}, "")


def test_what_is_not_described_is_guessed(tmp_path, capsys):
    guessed = described(tmp_path, "")
    assert (guessed.label, list(guessed.fields), guessed.split.by) == ("click", ["user"], "random")
    assert capsys.readouterr().err.startswith("60 rows, ")
    assert described(tmp_path, "", split={"by": "time", "column": "when"}).split.column == "when"
    given = described(tmp_path, "click == 1", fields={"user": "category", "when": "number"})
    assert (given.label, list(given.fields)) == ("click == 1", ["user", "when"])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"time_budget": "soon"}, r"^time budget soon: write a number and s, m or h, such as 10m$"),
        ({"models": ["fmm"]}, r"^unknown model 'fmm'; choose one of: afm, "),
        ({"name": "a/b"}, r"^name 'a/b': write letters, digits, _ and -$"),
        ({"splitt": "order"}, r"^splitt: .*nearest: split"),
        ({"label": "klick"}, r"klick.*click"),
    ],
)
def test_wrong_input_of_fit_is_one_line(tmp_path, keys, message):
    rows = pl.DataFrame({"user": [1, 2, 3, 1], "click": [0, 1, 1, 0], "item": [5, 5, 6, 6]})
    with pytest.raises(ValueError, match=message) as caught:
        factorbench.fit(rows, **{"folder": tmp_path / "here", "label": "click", **keys})
    assert "\n" not in str(caught.value)
    assert not [*tmp_path.glob(".rows-*")]


def test_importing_it_waits_for_nothing_heavy():
    code = "import sys, factorbench; print(*sorted({'torch', 'ray', 'polars', 'numba', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
