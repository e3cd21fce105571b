import gzip
import math
import zipfile

import numpy as np
import polars as pl
import pytest
import torch
import yaml

from pipelines import download, fit
from pipelines.data.catalog import get_dataset
from pipelines.data.findings import findings
from pipelines.data.fitting import encode_own, labels_of, split_of
from pipelines.data.guessing import propose
from pipelines.data.own import OwnDataset
from pipelines.data.prepared import prepare
from pipelines.data.rows import load_rows
from pipelines.data.tables import read_table
from pipelines.project.files import file_digest
from pipelines.project.params import load_params
from pipelines.project.paths import Paths
from pipelines.training.cell import load_cell, require_group

CLICKS = "user,item,age,when,price,click\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "datasets").mkdir()
    params = {"seed": 1, "datasets": ["clicks"], "models": ["fm"], "tune": {"num_trials": 1}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    return tmp_path


@pytest.fixture
def write(folder):
    """Return a function that writes a file and its data set."""

    def write_both(text=None, **changes):
        if text is not None:
            (folder / "clicks.csv").write_text(text)
        content = {"format": "table", "files": ["clicks.csv"], "label": "click", "fields": {"user": "category"}}
        (folder / "datasets" / "clicks.yaml").write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))

    return write_both


@pytest.fixture
def own(folder, write):
    """Return a function that writes a file and reads its data set."""

    def make(text=None, **changes):
        write(text, **changes)
        return get_dataset("clicks", folder)

    return make


def clicks(num_rows=200, seed=0):
    """Write a log in which users of even number click."""
    rng = np.random.default_rng(seed)
    lines = []
    for row in range(num_rows):
        user, item = rng.integers(20), rng.integers(8)
        age = "" if row % 10 == 3 else 20 + user
        lines.append(f"u{user},i{item},{age},{1_700_000_000 + 3600 * row},{10 ** (item / 3):.2f},{1 - user % 2}\n")
    return CLICKS + "".join(lines)


def prepared(folder):
    """Prepare the data set, and return its schema and rows by split."""
    paths = Paths(folder)
    schema = prepare(get_dataset("clicks", folder), load_params(folder / "params.yaml"), paths)
    return schema, {part: load_rows(paths.processed("clicks"), part) for part in ("train", "valid", "test")}


def test_a_csv_becomes_rows_without_a_line_of_code(folder, own):
    own(clicks(), fields={"user": "category", "age": {"kind": "number"}, "item": "category"})
    schema, rows = prepared(folder)
    assert schema["fields"] == ["user", "age", "item"]
    assert {part: len(split) for part, split in rows.items()} == {"train": 140, "valid": 40, "test": 20}
    assert schema["field_dims"] == [22, 2, 10]  # each with rare and missing, a number with missing
    for split in rows.values():
        even = [user for user in split.features[:, 0].tolist()]
        assert set(even) <= set(range(22))
        assert split.values is not None
        assert (split.values[:, [0, 2]] == 1).all()


def test_numbers_are_scaled_by_the_training_rows_and_missing_is_a_feature(folder, own):
    own(clicks(), fields={"user": "category", "age": {"kind": "number"}})
    _, rows = prepared(folder)
    known = rows["train"].features[:, 1] == 22
    ages = rows["train"].values[known, 1]
    assert ages.mean().item() == pytest.approx(0, abs=1e-5)
    assert ages.std(correction=0).item() == pytest.approx(1, abs=1e-4)
    missing = rows["train"].features[:, 1] == 23
    assert missing.sum() + known.sum() == 140
    assert (rows["train"].values[missing, 1] == 1).all()


def test_a_list_field_holds_its_elements(folder, own):
    genres = ["a|b", "b", "", "a | c|", "b|z", "a|b"]
    lines = "".join(f"u{row % 3},{genres[row % 6]},{row % 2}\n" for row in range(60))
    field = {"kind": "list", "separator": "|", "min_count": 2, "max_length": 2}
    own("user,genres,click\n" + lines, fields={"user": "category", "genres": field}, split="order")
    schema, rows = prepared(folder)
    names = pl.read_parquet(folder / "data/processed/clicks/vocabulary.parquet")["raw_value"].to_list()
    bags = rows["test"].bags
    assert (bags.first, schema["field_dims"]) == (schema["num_features"], [5, 6])
    shown = []
    for number in (rows["train"].features[:6, 1] - bags.first).tolist():
        elements = bags.elements[bags.offsets[number] : bags.offsets[number + 1]]
        shown.append([names[element] for element in elements.tolist()])
    assert shown == [["a", "b"], ["b"], ["<missing>"], ["a", "c"], ["b", "z"], ["a", "b"]]
    assert "lists" in schema["values"]


def test_unseen_elements_of_a_list_share_a_feature(own):
    field = {"kind": "list", "separator": "|", "min_count": 1}
    dataset = own("genres,click\na|b,1\na,0\na|x,1\n", fields={"genres": field})
    encoded, _ = encode_own(read_table(dataset), dataset, np.arange(2))
    names = encoded.vocabulary["raw_value"].to_list()
    lists = [[names[element] for element in each] for each in encoded.lists.to_list()]
    assert [lists[number - len(names)] for number in encoded.ids[:, 0].tolist()] == [
        ["a", "b"], ["a"], ["a", "<rare or unseen>"],
    ]  # fmt: skip


def test_rare_and_unseen_values_share_a_feature_and_missing_has_its_own(own):
    dataset = own("user,click\n" + "a,1\na,0\nb,1\n,0\nc,1\n", fields={"user": {"min_count": 2}})
    encoded, values = encode_own(read_table(dataset), dataset, np.arange(4))
    assert values is None
    assert encoded.ids[:, 0].tolist() == [2, 2, 0, 1, 0]
    assert encoded.vocabulary["raw_value"].to_list() == ["<rare or unseen>", "<missing>", "a"]


def test_bins_are_quantiles_of_the_training_rows(own):
    text = "user,age,click\n" + "".join(f"u,{age},{age % 2}\n" for age in range(100)) + "u,,1\n"
    dataset = own(text, fields={"age": {"kind": "number", "scale": "bins", "bins": 4}})
    encoded, _ = encode_own(read_table(dataset), dataset, np.arange(100))
    assert len({*encoded.ids[:100, 0].tolist()}) == 4
    assert np.bincount(encoded.ids[:100, 0])[2:].tolist() == [25, 25, 25, 25]
    assert encoded.ids[100, 0] == 1


@pytest.mark.parametrize(("scale", "noted"), [("raw", True), ("standard", False)])
def test_raw_numbers_far_from_one_have_a_note(folder, own, capsys, scale, noted):
    text = "age,click\n" + "".join(f"{1000 + row},{row % 2}\n" for row in range(60))
    own(text, fields={"age": {"kind": "number", "scale": scale}})
    prepared(folder)
    assert ("field age has large raw numbers" in capsys.readouterr().err) == noted


def test_shares_of_rows_in_order_are_exact_decimals(own):
    dataset = own("user,click\n" + "".join(f"u,{row % 2}\n" for row in range(100)), split="order")
    rows = split_of(read_table(dataset), dataset, 0.07, 0.9, np.random.default_rng(0))
    assert [len(part) for part in rows.values()] == [7, 90, 3]


def test_a_log_scale_is_of_size_and_sign(own):
    text = "user,age,click\n" + "".join(f"u,{age},{n % 2}\n" for n, age in enumerate((-100, -1, 0, 1, 100)))
    dataset = own(text, fields={"age": {"kind": "number", "scale": "log"}})
    _, values = encode_own(read_table(dataset), dataset, np.arange(5))
    logs = np.array([-math.log(101), -math.log(2), 0, math.log(2), math.log(101)])
    assert values[:, 0] == pytest.approx(logs / logs.std(), rel=1e-5)


def test_parts_of_a_time_are_features(own):
    text = "user,when,click\nu,2024-01-01 07:30:00,1\nu,2024-01-02 23:00:00,0\nu,,1\n"  # Monday, Tuesday
    parts = {part: {"kind": "time", "column": "when", "format": "", "part": part} for part in ("hour", "weekday")}
    dataset = own(text, fields=parts)
    encoded, _ = encode_own(read_table(dataset), dataset, np.arange(3))
    names = encoded.vocabulary["raw_value"].to_list()
    assert [[names[i] for i in row] for row in encoded.ids.tolist()] == [
        ["7", "1"], ["23", "2"], ["<missing>", "<missing>"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("label", "values", "expected"),
    [
        ("y", "1,0,1", [1, -1, 1]),
        ("y", "1.0,-1,1", [1, -1, 1]),
        ("y", "yes,no,yes", [1, -1, 1]),
        ("y >= 4", "5,3,4", [1, -1, 1]),
        ("y<4", "5,3,4", [-1, 1, -1]),
        ("y == >50K", ">50K,<=50K,>50K", [1, -1, 1]),
        ("y != bad", "good,bad,fine", [1, -1, 1]),
    ],
)
def test_labels(own, label, values, expected):
    dataset = own("user,y\n" + "".join(f"u,{value}\n" for value in values.split(",")), label=label)
    assert labels_of(read_table(dataset), dataset).tolist() == expected


SPLITS = {
    "order": list(range(70, 90)),
    "time": list(range(10, 30)),  # the clock runs backwards
}


@pytest.mark.parametrize("by", ["order", "time"])
def test_splits_by_order_and_time(own, by):
    text = "user,when,click\n" + "".join(f"u{n % 3},{1000 - n},{n % 2}\n" for n in range(100))
    split = {"by": by, "column": "when"} if by == "time" else by
    dataset = own(text, split=split)
    rows = split_of(read_table(dataset), dataset, 0.7, 0.2, np.random.default_rng(0))
    assert rows["valid"].tolist() == SPLITS[by]
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(100))


def test_a_group_is_on_one_side_and_the_last_row_of_each_user_tests(own):
    text = "user,fold,click\n" + "".join(f"u{n % 10},{['train', 'valid', 'test'][n % 3]},{n % 2}\n" for n in range(60))
    dataset = own(text, split={"by": "group", "column": "user"})
    table = read_table(dataset)
    parts = split_of(table, dataset, 0.7, 0.2, np.random.default_rng(0))
    users = [set(table["user"][rows].to_list()) for rows in parts.values()]
    assert [len(each) for each in users] == [7, 2, 1]
    assert len(set().union(*users)) == 10
    last = split_of(table, own(split={"by": "last", "column": "user"}), 0.7, 0.2, np.random.default_rng(0))
    assert (last["test"].tolist(), last["valid"].tolist()) == (list(range(50, 60)), list(range(40, 50)))
    fold = split_of(table, own(split={"by": "fold", "column": "fold"}), 0.7, 0.2, np.random.default_rng(0))
    assert fold["valid"].tolist() == list(range(1, 60, 3))


def test_given_files_and_side_tables_are_all_read(folder, own):
    for part, user in (("train", "a"), ("valid", "b"), ("test", "c")):
        (folder / f"{part}.csv").write_text(f"user,click\n{user},1\n{user},0\n")
    (folder / "users.csv").write_text("user,city\na,Rome\nb,Oslo\n")
    files = {part: f"{part}.csv" for part in ("train", "valid", "test")}
    dataset = own(files=files, joins=[{"files": ["users.csv"], "key": "user"}], fields={"city": {"min_count": 1}})
    table = read_table(dataset)
    assert table["city"].to_list() == ["Rome", "Rome", "Oslo", "Oslo", None, None]
    rows = split_of(table, dataset, 0.7, 0.2, np.random.default_rng(0))
    assert {part: at.tolist() for part, at in rows.items()} == {"train": [0, 1], "valid": [2, 3], "test": [4, 5]}
    assert encode_own(table, dataset, rows["train"])[0].ids[:, 0].tolist() == [2, 2, 0, 0, 1, 1]


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv.gz", "inter"])
def test_other_formats_say_the_same(folder, own, kind):
    expected = read_table(own("user,rating,click\nu1,4,1\nu2,2.5,0\n"))
    frame = pl.DataFrame({"user": ["u1", "u2"], "rating": [4.0, 2.5], "click": [1, 0]})
    file = folder / f"log.{kind}"
    if kind == "parquet":
        frame.write_parquet(file)
    elif kind == "jsonl":
        frame.write_ndjson(file)
    elif kind == "inter":
        file.write_text("user:token\trating:float\tclick:float\nu1\t4\t1\nu2\t2.5\t0\n")
    else:
        file.write_bytes(gzip.compress(b"user,rating,click\nu1,4,1\nu2,2.5,0\n"))
    table = read_table(own(files=[file.name], separator="\t" if kind == "inter" else ","))
    numbers = table.with_columns(pl.col("rating").cast(pl.Float64))
    assert numbers.equals(expected.with_columns(pl.col("rating").cast(pl.Float64)))


def test_a_needed_key_that_is_misspelt_is_named_as_it_stands(folder, own):
    own("user,click\nu,1\nu,0\n")
    file = folder / "datasets" / "clicks.yaml"
    file.write_text(file.read_text().replace("label:", "lable:"))
    with pytest.raises(ValueError, match=r"clicks\.yaml: lable: no such key; .* \(nearest: label\)"):
        get_dataset("clicks", folder)


@pytest.mark.parametrize("pack", ["gz", "zst"])
def test_a_compressed_file_that_is_cut_off_is_named(folder, own, pack):
    text, file = clicks(), folder / f"clicks.csv.{pack}"
    if pack == "gz":
        file.write_bytes(gzip.compress(text.encode()))
    else:
        pl.read_csv(text.encode()).lazy().sink_csv(file, compression="zstd", check_extension=False)
    dataset = own(files=[file.name])
    assert read_table(dataset).height == 200
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ValueError, match=rf"clicks\.csv\.{pack}: damaged or cut off"):
        read_table(dataset)


TIME = {"user": "category", "hour": {"kind": "time", "column": "when", "format": "%Y-%m-%d"}}
UNIX = {"user": "category", "hour": {"kind": "time", "column": "when"}}
NUMBER = {"fields": {"user": "number"}}


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        # the label
        ("user,click\nu,1\nu,2\nu,3\n", {}, "label click has the values 1, 2, 3; write which are positive"),
        ("user,click\nu,1\nu,1\n", {}, "label click: all 2 rows are positive"),
        ("user,click\nu,1\nu,2\n", {"label": "click > 2"}, "label click > 2: all 2 rows are negative"),
        ("user,click\nu,1\nu,\n", {}, "label click is missing in 1 of 2 rows, the first of them row 2"),
        # names
        (
            "user,click\nu,1\nu,0\n",
            {"label": "clik"},
            r"column of the label 'clik'; .*: click, user \(nearest: click\)",
        ),
        ("user,click\nu,1\nu,0\n", {"fields": {"usr": "category"}}, r"field 'usr' .*'usr'; .* \(nearest: user\)"),
        ("u,1\nv,0\n", {}, "label 'click'; choose one of: 1, u; if the files have no header, columns: "),
        ("user,user,click\nu,u,1\n", {}, "clicks.csv: two columns have the same name, 'user'"),
        ("u,1\n", {"columns": ["user"]}, "clicks.csv: columns has 1 names, but the first line has 2 cells"),
        ("u,1\n", {"columns": ["click", "click"]}, "columns: 'click' stands twice"),
        ("user,click\nu,1\nu,0\n", {"fields": {"label": {"column": "user"}}}, "'label' can't be a field's name"),
        ("user,click\nu,1\nu,0\n", {"fields": {"I1..J3": "number"}}, r"I1\.\.J3: write a range as I1\.\.I9"),
        ("user,click\nu,1\nu,0\n", {"fields": {"I1..I3": {}, "I2": {}}}, "I2: I2 stands twice"),
        ("user,click\nu,1\nu,0\n", {"files": ["none.csv"]}, "data set 'clicks': no file .*none.csv"),
        # keys
        ("user,click\nu,1\nu,0\n", {"split": "monthly"}, r"split\.by: Input should be 'random', 'order', 'time'"),
        ("user,click\nu,1\nu,0\n", {"split": "time"}, "by time needs column"),
        ("user,click\nu,1\nu,0\n", {"fields": {"user": {"kind": "text"}}}, r"fields\.user\.kind: Input should be"),
        ("user,click\nu,1\nu,0\n", {"joints": 1}, r"joints: no such key; .*layout, .* \(nearest: joins\)"),
        # cells
        ("user,click\nN/A,1\n2,0\n", NUMBER, "field user: row 1 has 'N/A', which is no finite"),
        ("user,click\n1,1\ninf,0\n", NUMBER, "row 2 has 'inf', which is no finite number"),
        ("user,click\n1,1\nu,0\n", NUMBER, "field user: row 2 has 'u', which is no finite number"),
        ("user,click\n" + ",1\n,0\n" * 9, NUMBER, "field user: all training rows lack user"),
        ("user,click\n" + ",1\n,0\n" * 9, {}, "field user: all training rows lack user"),
        # lines
        ("user,click\nu,1\nu,soon,1\nu,0\n", {}, "clicks.csv:3: 3 cells, but the first line has 2"),
        ('user,click\nu,1\n"u"x,1\nu,0\n', {}, r"clicks.csv:3: bad quoting \(.*\); .* say quotes: false"),
        ('user,click\nu,1\n"u,1\nu,0\n', {}, r"clicks.csv:3: bad quoting"),
        ("user,click\nu,1\nu\0,0\n", {}, "clicks.csv:3: has a NUL byte"),
        (b"user,click\nu,1\n\xe9,0\n", {}, "clicks.csv:3: not UTF-8 .* say encoding: cp1252"),
        ("user::click\nu::1\nu::1::2\n", {"separator": "::"}, "clicks.csv:3: 3 cells, but the header has 2"),
        ("", {}, "clicks.csv: empty"),
        # times
        ("user,when,click\nu,2020-01-01,1\nu,soon,0\n", {"fields": TIME}, "when such as 'soon' in row 2 is no time"),
        ("user,when,click\nu,1600000000,1\nu,soon,0\n", {"fields": UNIX}, "when such as 'soon' in row 2 is no time"),
        (
            "user,when,click\nu,2020-01-01,1\nu,soon,0\n",
            {"split": {"by": "time", "column": "when"}},
            "when such as 'soon' in row 2 is no time in ISO 8601; write its format",
        ),
        (
            "user,when,click\nu,1,1\nu,,0\n",
            {"split": {"by": "time", "column": "when"}},
            "split by time, but when is missing in 1 rows",
        ),
        (
            "user,when,click\nu,1,1\nu,2,0\n",
            {"split": {"by": "time", "column": "when"}},
            "data set 'clicks': the (valid|test) split has no rows",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder, write, text, changes, message):
    write(**changes)
    (folder / "clicks.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message) as raised:
        prepared(folder)
    assert "\n" not in str(raised.value)
    assert not (folder / "data" / "processed" / "clicks" / "schema.json").exists()


def test_files_with_other_columns_are_refused(folder, own):
    (folder / "more.csv").write_text("user,klick\nu,1\n")
    dataset = own("user,click\nu,0\n", files=["clicks.csv", "more.csv"])
    with pytest.raises(ValueError, match=r"clicks.csv and .*more.csv have other columns: click, klick stand in one"):
        read_table(dataset)


def test_columns_in_another_order_are_the_same_columns(folder, own):
    (folder / "more.csv").write_text("click,user\n1,u\n")
    dataset = own("user,click\nv,0\n", files=["clicks.csv", "more.csv"])
    assert read_table(dataset).select("user", "click").rows() == [("v", "0"), ("u", "1")]


def test_a_side_table_can_be_laid_out_otherwise(folder, own):
    (folder / "u.user").write_bytes(b"u|3|Gen\xe8ve\nv|4|Rome\n")
    join = {
        "files": ["u.user"],
        "key": "user",
        "separator": "|",
        "columns": ["user", "age", "city"],
        "encoding": "cp1252",
    }
    dataset = own("v,0\nu,1\n", columns=["user", "click"], joins=[join])
    assert read_table(dataset).select("click", "age", "city").rows() == [("0", "4", "Rome"), ("1", "3", "Gen\xe8ve")]


def test_texts_can_mean_missing(folder, own):
    (folder / "users.csv").write_text("user,age\nu,NA\nv,3\n")
    dataset = own(
        "user,price,click\nu,N/A,0\nv,4,1\n", missing=["N/A", "NA"], joins=[{"files": ["users.csv"], "key": "user"}]
    )
    assert read_table(dataset).select("price", "age").rows() == [(None, None), ("4", "3")]


def test_blank_lines_are_no_rows(own):
    dataset = own("user,click\r\nu,0\r\n\r\nv,1\r\n  \r\n\r\n")
    assert read_table(dataset).select("user", "click").rows() == [("u", "0"), ("v", "1")]


def test_a_list_of_a_million_elements_keeps_the_first(own):
    genres = "|".join(f"g{number}" for number in range(1_000_000))
    dataset = own(f"genres,click\n{genres},1\ng1,0\n", fields={"genres": {"kind": "list", "min_count": 1}})
    encoded, _ = encode_own(read_table(dataset), dataset, np.arange(2))
    assert encoded.field_dims == [52]
    assert [len(each) for each in encoded.lists.to_list()] == [50, 1]


def test_a_side_table_with_a_key_twice_is_refused(folder, own):
    (folder / "users.csv").write_text("user,city\na,Rome\na,Oslo\n")
    dataset = own("user,click\na,1\na,0\n", joins=[{"files": ["users.csv"], "key": "user"}])
    with pytest.raises(ValueError, match=r"users\.csv: key user 'a' occurs more than once"):
        read_table(dataset)


def test_the_values_of_a_column_are_groups_also_where_they_share_a_feature(folder, own):
    lines = "".join(f"u{row // 2},i{row % 3},{row % 2}\n" for row in range(200))  # each user has two rows
    fields = {"item": "category", "user": {"kind": "category", "min_count": 5}}
    own("user,item,click\n" + lines, fields=fields, split="order")
    without, rows = prepared(folder)
    assert rows["test"].groups is None
    for group, given in (("user", fields), ("who", {**fields, "who": {"kind": "category", "column": "user"}}),
                         ("user", {"item": "category"})):  # fmt: skip
        own(fields=given, split="order", group=group)
        schema, rows = prepared(folder)
        groups = rows["test"].groups
        assert schema["values"] != without["values"]
        assert torch.equal(groups[::2], groups[1::2])
        assert len(groups.unique()) == len(groups) / 2
        assert len(rows["train"].features[0]) == len(given)


def test_a_metric_by_group_says_what_it_lacks(folder, own):
    def said():
        with pytest.raises(ValueError, match=r"^.*$") as caught:
            load_cell("fm", "clicks", load_params(folder / "params.yaml"), Paths(folder))
        return str(caught.value)

    dataset = own(clicks())
    prepared(folder)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump({**params, "training": {"metric": "group_auc"}}))
    with pytest.raises(
        ValueError, match=r"^metric group_auc needs groups, .*`group: FIELD` into datasets/clicks\.yaml"
    ):
        require_group(dataset, "group_auc")
    assert said().startswith("metric group_auc needs groups, such as users: write `group: FIELD`")
    own(group="user")
    assert said().endswith("its rows have no groups yet: run python -m pipelines.prepare --dataset clicks")
    prepared(folder)
    assert said().endswith("no user of its valid rows has both classes")  # as users of even number click
    own(group="item")
    prepared(folder)
    assert load_cell("fm", "clicks", load_params(folder / "params.yaml"), Paths(folder)).valid_rows.groups is not None
    own(group="genre")
    with pytest.raises(ValueError, match="unknown column of the group of 'clicks' 'genre'; choose one of: age, click"):
        prepared(folder)


def test_fit_asks_for_groups_before_it_does_anything(folder, own, monkeypatch):
    own(clicks())
    monkeypatch.chdir(folder)
    for metric, problem in (("group_auc", "metric group_auc needs groups"), ("gauc", "unknown metric 'gauc'")):
        with pytest.raises(ValueError, match=problem):
            fit.main("clicks", metric=metric)
    assert not (folder / "runs").exists()


def test_an_own_file_is_never_touched(folder, own):
    own(clicks())
    before = (folder / "clicks.csv").stat()
    prepared(folder)
    assert not (folder / "data" / "raw").exists()
    after = (folder / "clicks.csv").stat()
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)  # reading changes st_atime


def test_a_proposal_can_be_prepared_as_it_stands(folder):
    file = folder / "clicks.csv"
    file.write_text(clicks(400))
    proposal, table = propose([file], "clicks", "", folder)
    assert proposal.label == "click"
    assert proposal.fields.keys() == {"user", "item", "age", "price"}
    assert proposal.dropped == {"when": "every row has another value"}
    text = proposal.yaml()
    (folder / "datasets" / "clicks.yaml").write_text(text)
    dataset = get_dataset("clicks", folder)
    assert isinstance(dataset, OwnDataset)
    found = "\n".join(findings(table, dataset, 0))
    assert "400 rows, " in found
    assert "WARNING: user alone has AUC 1.0000 on test rows: does it tell the label?" in found
    assert prepared(folder)[0]["num_rows"]["total"] == 400


def test_repeated_rows_are_reported(folder):
    file = folder / "clicks.csv"
    file.write_text(CLICKS + "".join(clicks(50).splitlines(keepends=True)[1:] * 6))
    proposal, table = propose([file], "clicks", "", folder)
    (folder / "datasets" / "clicks.yaml").write_text(proposal.yaml())
    found = "\n".join(findings(table, get_dataset("clicks", folder), 0))
    assert "WARNING: 250 rows (83%) repeat another row" in found
    assert "of the test rows stand in train too" in found


@pytest.mark.parametrize(("split", "told"), [("random", True), ({"by": "group", "column": "line"}, False)])
def test_negatives_apart_from_their_positive_are_reported(own, split, told):
    rng, num_lines, num_items = np.random.default_rng(0), 5000, 50
    line, label = np.divmod(np.arange(3 * num_lines), 3)
    items = rng.integers(num_items, size=len(line))
    rows = {
        "line": line,
        "user": rng.integers(100, size=num_lines)[line],
        "hour": rng.integers(240, size=num_lines)[line],
    }
    table = pl.DataFrame({**rows, "item": items, "genre": items % 7, "click": label == 0})
    dataset = own(
        table.write_csv(), fields={name: "category" for name in ("user", "hour", "item", "genre")}, split=split
    )
    found = [line for line in findings(read_table(dataset), dataset, 0) if "share of negatives" in line]
    assert len(found) == told
    assert not told or "differ only in item, test rows have AUC 0.8" in found[0]


def test_nothing_of_lists_is_left_when_their_field_goes(folder, own):
    text = "user,tags,click\n" + "".join(f"u{n % 9},a|b{n % 5},{n % 2}\n" for n in range(200))
    file = Paths(folder).processed("clicks") / "lists.parquet"
    own(text, fields={"user": "category", "tags": {"kind": "list", "separator": "|"}})
    assert "lists" in prepared(folder)[0]["values"]
    assert file.exists()
    own(text)
    assert "lists" not in prepared(folder)[0]["values"]
    assert not file.exists()


def test_a_log_and_its_side_table_are_fetched_from_an_archive_by_url_and_checksum(folder, write, monkeypatch):
    archive = folder / "shop.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("shop/log.csv", clicks())
        opened.writestr("shop/users.csv", "user,town\n" + "".join(f"u{n},t{n % 3}\n" for n in range(500)))
    source = {"url": archive.as_uri(), "checksum": f"sha256:{file_digest(archive)}"}
    source["members"] = ["shop/log.csv", "shop/users.csv"]
    changes = {"files": ["log.csv"], "joins": [{"files": ["users.csv"], "key": "user"}]}
    changes |= {"fields": {"user": "category", "town": "category"}}
    monkeypatch.setenv("FACTORBENCH_CACHE", str(folder / "cache"))
    write(sources=[source], **changes)
    params = folder / "params.yaml"
    with pytest.raises(ValueError, match=r"log\.csv is missing; run `python -m pipelines\.download --dataset clicks`"):
        get_dataset("clicks", folder).paths()
    raw = folder / "data" / "raw" / "clicks"
    assert download.download(get_dataset("clicks", folder), params) == [raw / "log.csv", raw / "users.csv"]
    table = read_table(get_dataset("clicks", folder))
    assert table["town"].null_count() == 0
    write(sources=[{**source, "checksum": "sha256:" + 64 * "0"}], **changes)
    with pytest.raises(ValueError, match="wrong checksum"):
        download.download(get_dataset("clicks", folder), params)


@pytest.mark.parametrize(("column", "group"), [("user_id", "user_id"), ("town", ""), ("visitor", "visitor")])
def test_a_column_of_users_is_proposed_as_group(tmp_path, column, group):
    file = tmp_path / "clicks.csv"
    file.write_text(f"{column},shop,click\n" + "".join(f"a{n % 30},s{n % 7},{n % 2}\n" for n in range(210)))
    proposal, _ = propose([file], "clicks", "", tmp_path)
    assert proposal.group == group
    assert (f"\ngroup: {group} #" in proposal.yaml()) == bool(group)
