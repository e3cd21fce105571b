import gzip
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from pipelines.data.as_text import as_text
from pipelines.data.catalog import get_dataset
from pipelines.data.fitting import weights_of
from pipelines.data.own import WEIGHT
from pipelines.data.prepared import prepare
from pipelines.data.rows import load_rows
from pipelines.data.splits import splits_of_table
from pipelines.data.tables import read_table, stored_table
from pipelines.project.params import load_params
from pipelines.project.paths import Paths

SEEDS = {"split": 0, "negatives": 1}
PARAMS = {"seed": 1, "datasets": ["clicks"], "models": ["fm"], "tune": {"num_trials": 1}}


@pytest.fixture
def own(tmp_path):
    """Return a function that describes a data set of files in tmp_path."""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))

    def make(files, fields=("user",), **changes):
        content = {"format": "table", "files": files, "label": "click", "fields": dict.fromkeys(fields, "category")}
        (tmp_path / "datasets" / "clicks.yaml").write_text(yaml.safe_dump({**content, **changes}))
        return get_dataset("clicks", tmp_path)

    return make


def same_columns(dataset, folder):
    """Compare a stored table with the one in memory, and return the latter."""
    table = read_table(dataset)
    with stored_table(dataset, folder) as stored:
        assert (stored.columns, stored.height) == (table.columns, table.height)
        for name in table.columns:
            assert stored[name].equals(table[name])
    assert list(folder.iterdir()) == []
    return table


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet", "jsonl"])
def test_a_stored_table_has_the_columns_of_all_files_and_side_tables(own, tmp_path, kind):
    clicks = pl.DataFrame({"user": [" a", "b", "", None], "click": [1, 0, 1, 0], "price": [1.0, 2.0, None, 4.0]})
    for part, rows in (("train", clicks), ("valid", clicks.select(reversed(clicks.columns))), ("test", clicks[::-1])):
        file = tmp_path / f"{part}.{kind}"
        match kind:
            case "parquet":
                rows.write_parquet(file)
            case "jsonl":
                rows.write_ndjson(file)
            case "csv.gz":
                rows.write_csv(file, compression="gzip")
            case _:
                rows.write_csv(file)
    (tmp_path / "users.csv").write_text("user,city\nb,Oslo\na,Rome\n")
    files = {part: f"{part}.{kind}" for part in ("train", "valid", "test")}
    dataset = own(files, joins=[{"files": ["users.csv"], "key": "user"}])
    table = same_columns(dataset, tmp_path / "scratch")
    assert table["city"].to_list() == [
        "Rome",
        "Oslo",
        None,
        None,
        "Rome",
        "Oslo",
        None,
        None,
        None,
        None,
        "Oslo",
        "Rome",
    ]


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        (b"u,1\n\n  \nv,\n", {"columns": ["user", "click"]}),
        (b'user:token,click\r\n"a"b, N/A\r\n\r\n', {"quotes": False, "missing": ["N/A"]}),
        (b"user::click\na::1\n\n", {"separator": "::"}),
        (b"user,click\n\xe9,1\n", {"encoding": "cp1252"}),
        (b"1 4:1 7:0.5\n0 3:1 9:1\n", {"layout": "libfm"}),
    ],
)
def test_a_stored_table_has_any_layout(own, tmp_path, text, layout):
    (tmp_path / "clicks.csv").write_bytes(text)
    same_columns(own(["clicks.csv"], **layout), tmp_path / "scratch")


def test_a_stored_table_names_the_file_that_is_wrong_and_leaves_nothing(own, tmp_path):
    (tmp_path / "one.csv").write_text("user,click\na,1\n")
    (tmp_path / "two.csv").write_text("user,clicks\na,1\n")
    (tmp_path / "long.csv").write_text("user,click\na,1,2\n")
    for files, message in (
        (["one.csv", "two.csv"], r"one.csv and .*two.csv have other columns: click, clicks"),
        (["one.csv", "long.csv"], r"^[^ ]*long.csv:2: 3 cells, but the first line has 2"),
    ):
        dataset, scratch = own(files), tmp_path / "scratch"
        with pytest.raises(ValueError, match=message), stored_table(dataset, scratch):
            pass
        assert list(scratch.iterdir()) == []


def packed(text, pack):
    """Compress a text as a file's suffix says."""
    if pack != ".zst":
        return gzip.compress(text) if pack else text
    stream = io.BytesIO()
    lines = pl.DataFrame({"line": text.decode().removesuffix("\n").split("\n")}).lazy()
    lines.sink_csv(stream, compression="zstd", include_header=False, quote_style="never")
    return stream.getvalue()


QUOTED = b'user,city,click\n"a\nb",x,1\na,"x, y",\n'  # a line break and a separator in cells, and a blank last cell


@pytest.mark.parametrize(
    ("text", "layout", "message"),
    [
        (QUOTED + b"\n ,\nc,1\n", {}, ":7: 2 cells, but the first line has 3"),
        (QUOTED + b'"c,1",x\nd,x,1', {}, ":5: 2 cells, but the first line has 3"),
        (b'user\tcity\tclick\na"\tx\t\nb\tx\r\n', {"separator": "\t", "quotes": False}, ":3: 2 cells, but"),
        (b"a;x;1\nb;x;\nb\n", {"separator": ";", "columns": ["user", "city", "click"]}, ":3: 1 cells, but"),
        (b"user,city,click\n\xe9,x,1\nb,x\n", {"encoding": "cp1252"}, ":3: 2 cells, but"),
    ],
    ids=["quotes", "a line that is quoted", "tabs", "without a header", "cp1252"],
)
def test_a_line_with_too_few_cells_is_named(own, tmp_path, text, layout, message):
    for pack in ("", ".gz") if "encoding" in layout else ("", ".gz", ".zst"):
        file = tmp_path / f"clicks.csv{pack}"
        file.write_bytes(packed(text, pack))
        dataset, scratch = own([file.name], **layout), tmp_path / "scratch"
        with pytest.raises(ValueError, match=f"^{file}{message}"):
            read_table(dataset)
        with pytest.raises(ValueError, match=f"^{file}{message}"), stored_table(dataset, scratch):
            pass
        assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("text", [QUOTED, b'user,city,click\na"b,x"y,\n,,\n\n'])
def test_a_blank_last_cell_is_missing(own, tmp_path, text):
    (tmp_path / "clicks.csv").write_bytes(text)
    assert same_columns(own(["clicks.csv"]), tmp_path / "scratch")["click"].to_list()[-1] is None


LOG = (
    "user,city,times,n,click\n"
    + "a,x,1,1,1\na,x,2,2,1\na,x,3,3,0\na,,4,4,1\na,,5,5,1\nb,x,6,6,0\nb,x,7,7,1\nb,x,9,8,0\n"
)


@pytest.mark.parametrize(
    ("changes", "rows", "weights"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8], None),
        ({"weight": "times"}, [1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7, 9]),
        ({"repeated": "drop"}, [1, 3, 4, 6, 7], None),
        ({"repeated": "drop", "weight": "times"}, [1, 3, 4, 6, 7], [1, 3, 4, 6, 7]),
        ({"repeated": "weight"}, [1, 3, 4, 6, 7], [2, 1, 2, 6, 3]),  # b has the same rows in all three files
        ({"repeated": "weight", "weight": "times"}, [1, 3, 4, 6, 7], [3, 3, 9, 45, 21]),
    ],
)
def test_repeated_rows_and_weights(own, tmp_path, changes, rows, weights):
    lines = LOG.splitlines(keepends=True)
    for part in ("train", "valid", "test"):
        (tmp_path / f"{part}.csv").write_text("".join(lines).replace("a,", f"{part},") if part != "train" else LOG)
    files = {part: f"{part}.csv" for part in ("train", "valid", "test")}
    dataset = own(files, ("user", "city"), **changes)
    encoded, splits = splits_of_table(
        dataset, load_params(tmp_path / "params.yaml"), SEEDS, tmp_path, lambda phase: None
    )
    train = splits["train"].table.collect()
    assert splits["train"].num_rows == train.height == len(rows)
    names = encoded.vocabulary["raw_value"].to_list()
    cells = [line.strip().split(",") for line in lines]
    assert [names[feature] for feature in train["city"]] == [cells[row][1] or "<missing>" for row in rows]
    assert train["label"].to_list() == [1 if cells[row][4] == "1" else -1 for row in rows]
    assert WEIGHT not in splits["test"].table.collect_schema().names()
    if weights is None:
        assert WEIGHT not in train.columns
    else:
        assert train[WEIGHT].to_list() == pytest.approx(np.array(weights) / np.mean(weights))


@pytest.mark.parametrize("wrong", ["-1", "", "many", "inf"])
def test_a_wrong_weight_is_named_by_its_row(own, tmp_path, wrong):
    (tmp_path / "clicks.csv").write_text(f"user,times,click\na,1,1\nb,{wrong},0\n")
    with pytest.raises(ValueError, match="data set 'clicks': weight: row 2 has"):
        weights_of(read_table(own(["clicks.csv"], weight="times")), own(["clicks.csv"], weight="times"))


def test_weights_reach_training_and_not_the_values_of_fields(own, tmp_path):
    lines = "".join(f"u{row % 7},{row % 3},{row % 5},{row % 2}\n" for row in range(200))
    (tmp_path / "clicks.csv").write_text("user,times,age,click\n" + lines)
    digests = []
    for weight in ("times", "age"):
        dataset = own(["clicks.csv"], weight=weight, split="order")
        digests.append(prepare(dataset, load_params(tmp_path / "params.yaml"), Paths(tmp_path))["values"])
    rows = {part: load_rows(Paths(tmp_path).processed("clicks"), part) for part in ("train", "test")}
    assert rows["train"].weights.mean().item() == pytest.approx(1)
    assert rows["train"].weights[:3].tolist() == pytest.approx([0, 0.5, 1])
    assert rows["train"].values is rows["test"].weights is None
    assert digests[0]["train"] != digests[1]["train"]
    assert digests[0]["test"] == digests[1]["test"]


PLAYS = "user,item,when,country\n" + "".join(
    f"u{row % 10},i{(row * row + row % 10) % 23},{row},c{row % 3}\n" for row in range(100)
)
NEGATIVES = {"replace": "item", "given": ["user"], "count": 2}


@pytest.fixture
def plays(own, tmp_path):
    """Return a function that encodes a log of positives.

    It returns the texts and the labels of each part's rows.
    """
    (tmp_path / "plays.csv").write_text(PLAYS)
    (tmp_path / "items.csv").write_text("item,genre\n" + "".join(f"i{n},g{n % 4}\n" for n in range(23)))

    def encode(fields=("user", "country", "item", "genre"), **changes):
        changes = {"label": "all positive", "negatives": NEGATIVES, **changes}
        dataset = own(["plays.csv"], fields, joins=[{"files": ["items.csv"], "key": "item"}], **changes)
        params = load_params(tmp_path / "params.yaml")
        encoded, splits = splits_of_table(dataset, params, SEEDS, tmp_path / "scratch", lambda phase: None)
        names = encoded.vocabulary["raw_value"].to_list()
        tables = {part: split.table.collect() for part, split in splits.items()}
        return {
            part: [tuple(names[feature] for feature in row) for row in table.select(fields).rows()]
            for part, table in tables.items()
        }, {part: table["label"].to_list() for part, table in tables.items()}

    return encode


@pytest.mark.parametrize(
    "split", ["order", {"by": "time", "column": "when"}, "random", {"by": "last", "column": "user"}]
)
def test_negatives_go_with_their_positive_and_have_their_own_items_genre(plays, split):
    known = {tuple(line.split(",")[:2]) for line in PLAYS.splitlines()[1:]}
    texts, labels = plays(split=split)
    contexts = {}
    for part, rows in texts.items():
        positive = [row for row, label in zip(rows, labels[part], strict=True) if label == 1]
        negative = [row for row, label in zip(rows, labels[part], strict=True) if label == -1]
        assert len(negative) == 2 * len(positive)
        assert sorted(row[:2] for row in negative) == sorted([row[:2] for row in positive] * 2)  # user and country
        for _, _, item, genre in positive + negative:
            if item != "<rare or unseen>":
                assert genre == f"g{int(item[1:]) % 4}"
        assert not known & {(user, item) for user, _, item, _ in negative}
        for row in negative:
            contexts[row[:3]] = contexts.get(row[:3], 0) + (row[2] != "<rare or unseen>")
    assert max(contexts.values()) == 1  # no negative occurs twice
    assert sum(map(len, texts.values())) == 300
    if split == "order":
        assert [len(rows) for rows in texts.values()] == [210, 60, 30]


def test_too_few_values_are_an_error_or_leave_rows_without_negatives(plays):
    fields = ("user", "country", "item")
    with pytest.raises(ValueError, match="data set 'clicks': no item left for a negative with user 'u0'"):
        plays(fields, negatives={**NEGATIVES, "count": 4})
    for count in (4, 8):
        texts, labels = plays(fields, negatives={**NEGATIVES, "count": count, "if_too_few": "fewer"}, split="order")
        assert sum(label == 1 for part in labels.values() for label in part) == 100
        num_negatives = {}
        for part, rows in texts.items():
            for row, label in zip(rows, labels[part], strict=True):
                num_negatives.setdefault(row[:2], []).append(label)
        each = {context: found.count(-1) / found.count(1) for context, found in num_negatives.items()}
        # three or four rows with the same user and country share the items that the user lacks, of 23
        assert set(each.values()) == ({0, 4} if count == 4 else {0})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "country"}, "rows that are all positive need negatives, and no others have them"),
        (
            {"negatives": {**NEGATIVES, "replace": "song"}},
            "negatives: 'song' is no field; the fields are: country, genre, item, user",
        ),
        ({"negatives": {**NEGATIVES, "given": ["item"]}}, "given: 'item' is the field that a negative replaces"),
    ],
)
def test_wrong_negatives_are_named(plays, changes, message):
    with pytest.raises(ValueError, match=message):
        plays(**changes)


PEAK = """
import sys
from pathlib import Path
from pipelines.prepare import main

def peak_kib():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

before = peak_kib()
main("clicks", Path(sys.argv[1]))
print(peak_kib() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_a_long_table_is_not_held_as_text(own, tmp_path):
    rng, fields = np.random.default_rng(0), [f"a field with a long name {n}" for n in range(20)]
    columns = {name: pl.Series(rng.integers(1000, size=200_000)).cast(pl.String) + " " + name for name in fields}
    pl.DataFrame({"click": rng.integers(2, size=200_000), **columns}).write_csv(tmp_path / "clicks.csv")
    own(["clicks.csv"], fields)
    command = [sys.executable, "-c", PEAK, tmp_path / "params.yaml"]
    environment = {**os.environ, "POLARS_MAX_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert int(done.stdout.split()[-1]) >> 10 < 390  # MiB, of which 250 to 280 are taken; with all columns 550


def test_a_number_has_the_same_text_in_any_table():
    values = [1.0, 1.5, None, 1e30, float("inf"), -0.0, 3e9]
    texts = as_text(pl.DataFrame({"a": values}))["a"].to_list()
    assert texts == ["1", "1.5", None, "1e+30", "inf", "0", "3000000000"]
    assert [as_text(pl.DataFrame({"a": [value]}))["a"].item() for value in values if value is not None] == [
        text for text in texts if text is not None
    ]
