"""Check that what `describe` proposes for files of any format can be prepared."""

import gzip
import json
from datetime import UTC, datetime, timedelta

import jsonschema
import numpy as np
import polars as pl
import pytest

from pipelines.data.catalog import FOLDER, get_dataset, json_schema
from pipelines.data.findings import findings
from pipelines.data.guessing import propose
from pipelines.data.own import Negatives, OwnDataset
from pipelines.data.sniffing import beside, name_of
from pipelines.data.splits import splits_of_table
from pipelines.data.tables import read_table
from pipelines.describe import main
from pipelines.project.params import Params, TuneParams
from pipelines.project.records import parse_yaml

SEEDS = {"split": 0, "negatives": 1}


class Described:
    """Hold a proposal, its data set as read from its YAML, and what was found."""

    def __init__(self, files, folder, label="", columns=()):
        name = name_of(files)
        self.proposal, self.rows = propose(files, name, label, folder, columns)
        (folder / "datasets").mkdir(exist_ok=True)
        (folder / "datasets" / f"{name}.yaml").write_text(self.proposal.yaml())
        self.dataset = get_dataset(name, folder)
        assert isinstance(self.dataset, OwnDataset)
        self.notes = self.proposal.notes + findings(self.rows, self.dataset, 0)

    def table(self):
        return read_table(self.dataset)

    def prepared(self):
        params = Params(seed=1, datasets=[self.dataset.name], models=["fm"], tune=TuneParams(num_trials=1))
        return splits_of_table(self.dataset, params, SEEDS, self.dataset.folder / "scratch", lambda phase: None)


@pytest.fixture
def describe(tmp_path):
    """Return a function that writes files and describes them."""

    def write(files, **options):
        for name, content in files.items():
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return Described([tmp_path / name for name in files], tmp_path, **options)

    return write


RNG = np.random.default_rng(0)
RATINGS = [
    (f"{row * 7 % 40}", f"{RNG.integers(30)}", f"{1 + RNG.integers(5)}", f"{880_000_000 + 3600 * row}")
    for row in range(300)
]


def joined(rows, separator, header=""):
    return header + "".join(separator.join(row) + "\n" for row in rows)


@pytest.mark.parametrize("pack", ["", ".gz", ".zst"])
@pytest.mark.parametrize(
    ("name", "separator", "header"),
    [("ratings.dat", "::", ""), ("u.data", "\t", ""), ("log.txt", "||", "user||item||rating||time\n")],
)
def test_files_without_a_header_and_with_long_separators(describe, tmp_path, name, separator, header, pack):
    text = joined(RATINGS, separator, header).encode()
    if pack == ".zst":
        lines = pl.DataFrame({"line": text.decode().splitlines()})
        lines.lazy().sink_csv(
            tmp_path / "packed", compression="zstd", include_header=False, quote_style="never", check_extension=False
        )
        text = (tmp_path / "packed").read_bytes()
        assert b"880000000" not in text[:100] or separator.encode() not in text[:100]
    found = describe({name + pack: gzip.compress(text) if pack == ".gz" else text})
    assert found.table().columns[:4] == ["user", "item", "rating", "time"]
    assert found.table().select("user", "item", "rating", "time").rows() == RATINGS
    assert found.dataset.label == "rating >= 4"
    assert (found.dataset.split.by, found.dataset.split.column) == ("time", "time")
    assert bool(found.dataset.columns) == (not header)
    assert any("has no header" in note for note in found.notes) == (not header)
    assert sum(split.num_rows for split in found.prepared()[1].values()) == 300


def test_names_that_yaml_reads_otherwise_and_that_no_field_may_have(describe):
    names = ["2017-05-06x", "0x1F", "true", "a: b", "", "é", "value:x", "label", "y"]
    rows = [[f"{n}{RNG.integers(5)}z" for n in range(len(names) - 1)] + [str(row % 2)] for row in range(50)]
    found = describe({"log.csv": joined(rows, ",", ",".join(f'"{name}"' for name in names) + "\n")}, label="y")
    assert [found.dataset.source(field) for field in found.dataset.fields] == [
        *names[:4],
        "c5",
        "é",
        "value:x",
        "label",
    ]


def test_names_can_be_given_for_a_file_without_a_header(describe):
    found = describe({"log.csv": joined(RATINGS, ",")}, columns=["who", "what", "stars", "time"])
    assert found.dataset.label == "stars >= 4"
    assert [*found.dataset.fields][:2] == ["who", "what"]


def test_a_log_of_plays_has_negatives_and_its_times_are_no_features_of_libffm(describe):
    plays = [(f"u{row % 20}", f"i{RNG.integers(30)}", f"2024-01-{1 + row % 28:02d} 10:00:00") for row in range(200)]
    text = joined(plays, ",", "user_id,item_id,played_at\n")
    found = describe({"plays.csv": text}, label="all positive")
    assert found.dataset.negatives == Negatives(replace="item_id", given=["user_id"], count=2, if_too_few="fewer")
    assert "200 rows, all positive" in found.notes
    positives = sum(split.num_positives for split in found.prepared()[1].values())
    assert (positives, sum(split.num_rows for split in found.prepared()[1].values())) == (200, 600)
    with pytest.raises(ValueError, match="--label 'all positive' for a log of plays or purchases; the columns are: us"):
        describe({"plays.csv": text})
    with pytest.raises(ValueError, match=r"plays\.csv: rows that are all positive need negatives, and no two columns"):
        describe({"plays.csv": text.replace("item_id", "what")}, label="all positive")


def test_a_click_log_without_a_header_has_its_label_first_and_ranges_of_fields(describe):
    rows = [
        (
            str(row % 2),
            *(str(int(RNG.pareto(1) * 10 * n)) for n in range(1, 5)),
            *(f"{RNG.integers(9):x}a" for _ in range(3)),
        )
        for row in range(200)
    ]
    found = describe({"day_0": joined(rows, "\t")})
    assert found.dataset.label == "label"
    assert "c2..c5: {kind: number, scale: log}" in found.proposal.yaml()
    assert "c6..c8: category" in found.proposal.yaml()
    assert [*found.dataset.fields] == [f"c{place}" for place in range(2, 9)]
    found.prepared()


def test_side_tables_are_joined_by_the_key_that_they_share(describe, tmp_path):
    users = [(f"{user}", f"{18 + user}", "MF"[user % 2], f"V{user % 7}\xe9") for user in range(40)]
    items = [
        (f"{item}", f'"The" Film {item % 3}', " ".join(["Drama", "Action", "War"][: 1 + item % 3]))
        for item in range(30)
    ]
    found = describe(
        {
            "ml.inter": joined(RATINGS, "\t", "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"),
            "ml.user": joined(users, ",", "user_id,age,gender,town\n").encode("cp1252"),
            "ml.item": joined(items, "\t", "item_id:token\tmovie_title:token_seq\tclass:token_seq\n"),
        }
    )
    assert beside([tmp_path / "ml.inter"]) == [tmp_path / "ml.user", tmp_path / "ml.item"]
    one, other = found.dataset.joins
    assert (one.key, one.separator, one.encoding) == ("user_id", ",", "cp1252")
    assert (other.key, other.quotes) == ("item_id", False)
    kinds = {name: column.kind for name, column in found.dataset.fields.items()}
    assert kinds == {
        "user_id": "category", "item_id": "category", "timestamp_hour": "time", "timestamp_weekday": "time",
        "age": "category", "gender": "category", "town": "category",
        "movie_title": "list", "class": "list",
    }  # fmt: skip
    assert found.dataset.fields["class"].separator == " "
    assert found.table()["town"][0] == "V0\xe9"
    assert found.table()["class"].null_count() == 0
    found.prepared()


def test_quotes_and_letters_far_down_in_a_file_are_seen(describe):
    rows = [(f"film {n % 9}", str(n % 2)) for n in range(2000)]
    late = b'"The" Film,1\n\xe9t\xe9,0\n'
    found = describe({"log.csv": joined(rows, ",", "title,click\n").encode() + late})
    assert (found.dataset.quotes, found.dataset.encoding) == (False, "cp1252")
    assert found.table()["title"].to_list()[-2:] == ['"The" Film', "\xe9t\xe9"]


def test_a_file_that_is_neither_log_nor_side_table_is_refused(describe):
    log = "user,item,click\nu,i,1\nu,j,0\n"
    with pytest.raises(ValueError, match=r"cities.csv has neither the columns of .* its columns: city, size"):
        describe({"log.csv": log, "cities.csv": "city,size\nRome,3\n"})
    with pytest.raises(ValueError, match=r"users.csv shares user with .*, but none has another value in each row"):
        describe({"log.csv": log, "users.csv": "user,age\nu,3\nu,4\n"})


def test_files_whose_names_say_so_are_the_parts_of_the_split(describe, tmp_path):
    text = joined(RATINGS, ",", "user,item,rating,time\n")
    found = describe({f"log_{part}.csv": text for part in ("test", "train", "val")})
    assert found.dataset.name == "log"
    assert found.dataset.files == {"train": "log_train.csv", "valid": "log_val.csv", "test": "log_test.csv"}
    assert "split" not in found.proposal.yaml().replace("split by", "")
    assert "WARNING: 100% of the test rows stand in train too" in found.notes
    assert beside([tmp_path / "log_train.csv"]) == [tmp_path / "log_val.csv", tmp_path / "log_test.csv"]


def test_libfm_has_its_fields_by_place(describe):
    lines = "".join(f"{row % 2} {row % 8}:1 {10 + row % 5}:1 20:{row / 7:.3f} # {row}\n" for row in range(100))
    found = describe({"log.libfm": lines})
    assert {name: column.kind for name, column in found.dataset.fields.items()} == {
        "c1": "category",
        "c2": "category",
        "c3_value": "number",
    }
    assert found.proposal.dropped == {"c1_value": "constant", "c2_value": "constant", "c3": "constant"}
    assert found.table()["c2"].to_list()[:6] == ["10", "11", "12", "13", "14", "10"]
    found.prepared()


def test_libffm_has_its_fields_by_number_and_repeated_ones_are_lists(describe):
    lines = [
        f"{row % 2} 0:{row % 8}:1 " + " ".join(f"3:{20 + (row + n) % 6}:1" for n in range(row % 4))
        for row in range(100)
    ]
    found = describe({"a.ffm": "\n".join(lines[:60]), "b.ffm": "\n".join([*lines[60:], "1 7:5:0.5 0:3:1"])})
    assert found.dataset.layout == "libffm"
    assert found.dataset.fields["f3"].kind == "list"
    assert found.dataset.fields["f0"].kind == "category"
    assert found.table().height == 101
    assert found.table()["f3"].to_list()[:4] == [None, "21", "22|23", "23|24|25"]
    assert found.table()["f7"].to_list()[-2:] == [None, "5"]
    weighted = describe(
        {"c.ffm": "".join(f"{row % 2} 0:{row % 3}:1 3:{row % 5}:0.{row % 4} 3:9:2\n" for row in range(20))}
    )
    assert [*weighted.dataset.fields] == ["f0", "f3"]
    assert weighted.proposal.dropped["f3_value"] == "weights of a list's elements, which fields can't hold"
    found.prepared()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 1:1 2:1\n\n0 1:1\n", "log.libfm:3: 1 features, but line 1 has 2"),
        ("1 1:1 2:1\n0 1:1 x\n", "log.libfm:2: expected index:value, got 'x'"),
        ("# nothing\n", "log.libfm: the file has no rows"),
    ],
)
def test_libfm_that_is_wrong_is_refused_with_its_line(tmp_path, text, message):
    (tmp_path / "log.libfm").write_text(text)
    dataset = OwnDataset(
        name="log",
        format="table",
        folder=tmp_path,
        files=["log.libfm"],
        layout="libfm",
        label="label",
        fields={"c1": {}},
    )
    with pytest.raises(ValueError, match=message):
        read_table(dataset)


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "json"])
def test_columns_of_lists_and_objects(describe, tmp_path, kind):
    tags = [["a", "b"], [], ["c"], None, ["b"]]
    frame = pl.DataFrame(
        {
            "tags": [tags[row % 5] for row in range(60)],
            "user": [{"id": f"u{row % 7}", "age": 20.5 + row} for row in range(60)],
            "pairs": [[["x"], ["y"]]] * 60,
            "click": [row % 2 for row in range(60)],
        }
    )
    file = tmp_path / f"log.{kind}"
    {"parquet": frame.write_parquet, "jsonl": frame.write_ndjson, "json": frame.write_json}[kind](file)
    found = describe({file.name: file.read_bytes()})
    kinds = {name: column.kind for name, column in found.dataset.fields.items()}
    assert kinds == {"tags": "list", "user.id": "category", "user.age": "number"}
    assert found.table()["tags"].to_list()[:5] == ["a|b", None, "c", None, "b"]
    found.prepared()


def test_ids_and_counts_among_numbers_are_told_apart(describe):
    size = 400
    rng = np.random.default_rng(1)
    shop = rng.integers(1, 400_000, size=90)
    columns = {
        "row": np.arange(size),
        "age": rng.integers(17, 90, size=size),
        "price": np.round(rng.exponential(20, size=size), 2),
        "clicks": rng.zipf(1.5, size=size) % 5000,
        "shop": shop[rng.integers(90, size=size)],
        "country_code": rng.integers(200, size=size),
        "coded": 1 + np.arange(size) % 80,
        "level": rng.integers(5, size=size),
        "same": np.ones(size),
        "click": rng.integers(2, size=size),
    }
    found = describe({"log.csv": pl.DataFrame(columns).write_csv()})
    kinds = {name: (column.kind, column.scale) for name, column in found.dataset.fields.items()}
    assert kinds == {
        "age": ("number", "standard"),
        "price": ("number", kinds["price"][1]),
        "clicks": ("number", "log"),
        "shop": ("category", "standard"),
        "country_code": ("category", "standard"),
        "coded": ("category", "standard"),
        "level": ("category", "standard"),
    }
    assert found.proposal.dropped == {"row": "every row has another value", "same": "constant"}


@pytest.mark.parametrize(
    ("format", "proposed"),
    [
        ("%y%m%d%H", "%y%m%d%H"),
        ("%Y%m%d%H", "%Y%m%d%H"),
        ("%Y%m%d", "%Y%m%d"),
        ("%Y-%m-%d %H:%M:%S", ""),
        ("%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M"),
        ("unix", "unix"),
        ("unix_ms", "unix_ms"),
    ],
)
def test_times_in_all_usual_forms(describe, format, proposed):
    times = [datetime(2014, 10, 21, tzinfo=UTC) + timedelta(hours=7 * row) for row in range(100)]
    unit = {"unix": 1, "unix_ms": 1000}.get(format)
    texts = [str(int(time.timestamp() * unit)) if unit else time.strftime(format) for time in times]
    found = describe(
        {"log.csv": "hour,user,click\n" + "".join(f"{text},u{n % 9},{n % 2}\n" for n, text in enumerate(texts))}
    )
    column = found.dataset.fields["hour_weekday"]
    assert (column.kind, column.format) == ("time", proposed)
    assert found.dataset.split.by == "time"
    encoded, splits = found.prepared()
    parts = encoded.vocabulary.filter(pl.col("field") == "hour_weekday")["raw_value"].to_list()
    assert {*parts} == {"<rare or unseen>", "<missing>", *"1234567"}
    assert splits["test"].num_rows == 10


def test_whole_numbers_of_few_values_are_numbers_beside_numbers(describe):
    rows = [(f"{RNG.integers(3)}", *(f"{RNG.random():.3f}" for _ in range(3)), str(row % 2)) for row in range(60)]
    fields = describe({"log.csv": joined(rows, ",", "I1,I2,I3,I4,click\n")}).dataset.fields
    assert {column.kind for column in fields.values()} == {"number"}
    fields = describe({"log.csv": joined(rows, ",", "I1,J2,K3,L4,click\n")}).dataset.fields
    assert fields["I1"].kind == "category"


def test_marks_of_missing_numbers_are_found(describe):
    rows = [(f"{row / 3:.2f}" if row % 5 else "N/A", "?" if row % 9 else "x", str(row % 2)) for row in range(60)]
    found = describe({"log.csv": joined(rows, ",", "price,mark,click\n")})
    assert found.dataset.missing == ["N/A"]
    assert {name: column.kind for name, column in found.dataset.fields.items()} == {
        "price": "number",
        "mark": "category",
    }
    assert found.table()["price"].null_count() == 12
    found.prepared()


def test_a_column_that_all_training_rows_lack_is_left_out(describe):
    late = [(*row, f"d{number % 2}" if number > 280 else "") for number, row in enumerate(RATINGS)]
    found = describe({"log.csv": joined(late, ",", "user,item,rating,time,device\n")})
    assert found.proposal.dropped["device"] == "empty in all training rows"
    late = [(*row[:2], str(int(number < 250)), row[3], f"d{number % 3}") for number, row in enumerate(RATINGS)]
    found = describe({"log.csv": joined(late, ",", "user,item,click,time,device\n")})
    assert "WARNING: the train rows have no two labels: another split is needed" in found.notes


def test_repeated_events_long_lists_and_leaks_are_found(describe):
    lines = ["user_id,item_id,tags,score,click\n"]
    for row in range(400):
        click = row % 2
        tags = "|".join(f"t{n}" for n in range(60 if row % 100 == 0 else 2))
        lines.append(f"u{row % 20},i{row % 10},{tags if row else 'a|b'},{row / 1000 + click:.3f},{click}\n")
    notes = "\n".join(describe({"log.csv": "".join(lines)}).notes)
    assert "user_id and item_id: 380 rows (95%) have the pair of another row" in notes
    assert "tags: 0.8% of the lists have more than 50 elements, up to 60: the first 50 count (max_length)" in notes
    assert "WARNING: score alone has AUC 0.99" in notes


CONFIG = """
tiny:
  data_root: ../data/
  data_format: csv
  train_data: ../data/tiny/train.csv
  valid_data: ../data/tiny/valid.csv
  test_data: ../data/tiny/test.csv
  min_categr_count: 1
  feature_cols:
    - {name: [user, item], active: True, dtype: str, type: categorical}
    - {name: price, active: True, dtype: float, type: numeric, normalizer: StandardScaler}
    - {name: history, active: True, dtype: str, type: sequence, splitter: ^, max_len: 5, share_embedding: item}
    - {name: weekday, active: True, dtype: str, type: categorical, preprocess: convert_weekday(time)}
    - {name: weekend, active: True, dtype: str, type: categorical, preprocess: convert_weekend(time)}
    - {name: time, active: False, dtype: str, type: categorical}
    - {name: device, type: categorical, category_processor: hash_bucket, num_buckets: 4}
    - {name: size, type: categorical, category_processor: quantile_bucket, num_buckets: 3}
  label_col: {name: clk, dtype: float}
arrays: {data_format: npz, train_data: train.npz}
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Write a config of FuxiCTR and its files, and return the config's path."""
    (tmp_path / "project" / "config").mkdir(parents=True)
    (tmp_path / "project" / "data" / "tiny").mkdir(parents=True)
    (tmp_path / "project" / "datasets").mkdir()
    for part in ("train", "valid", "test"):
        rows = (
            f"{row % 2},u{row % 3},i{row % 5},{row / 3:.2f},i1^i{row % 4},2017-05-0{1 + row % 6},d{row % 9},{row}\n"
            for row in range(60)
        )
        (tmp_path / "project" / "data" / "tiny" / f"{part}.csv").write_text(
            "clk,user,item,price,history,time,device,size\n" + "".join(rows)
        )
    monkeypatch.chdir(tmp_path / "project")
    file = tmp_path / "project" / "config" / "dataset_config.yaml"
    file.write_text(CONFIG)
    return file


def test_a_config_of_fuxictr_becomes_a_data_set(config, capsys):
    main([config], dataset_id="tiny")
    text, notes = capsys.readouterr()
    file = config.parents[1] / "datasets" / "tiny.yaml"
    file.write_text(text)
    dataset = get_dataset("tiny", config.parents[1])
    assert dataset.label == "clk"
    assert dataset.files["valid"] == "data/tiny/valid.csv"
    fields = {name: (column.kind, column.min_count) for name, column in dataset.fields.items()}
    assert fields == {
        "user": ("category", 1), "item": ("category", 1), "price": ("number", 2), "history": ("list", 1),
        "weekday": ("time", 2), "device": ("category", 2), "size": ("number", 2),
    }  # fmt: skip
    assert (dataset.fields["device"].hash, dataset.fields["size"].bins) == (4, 3)
    assert (dataset.fields["history"].separator, dataset.fields["history"].max_length) == ("^", 5)
    assert dataset.fields["weekday"].column == "time"
    assert "share_embedding of history is not translated" in notes
    assert "weekend: preprocess convert_weekend(time) is not translated" in notes
    params = Params(seed=1, datasets=["tiny"], models=["fm"], tune=TuneParams(num_trials=1))
    assert (
        splits_of_table(dataset, params, SEEDS, config.parent / "scratch", lambda phase: None)[1]["test"].num_rows == 60
    )


@pytest.mark.parametrize(
    ("change", "dataset_id", "message"),
    [
        (("train_data", "data"), "", "no data set in it: expected NAME"),
        (("name: price", "nam: price"), "tiny", "dataset_config.yaml: tiny: a column has no name: {'nam': 'price'"),
        (("", ""), "", "several data sets: choose one by --dataset-id: tiny, arrays"),
        (("", ""), "tinny", r"unknown data set of .*'tinny'; choose one of: arrays, tiny \(nearest: tiny\)"),
        (("", ""), "arrays", "arrays: data_format npz, no feature_cols and label_col: describe the raw files instead"),
        (("tiny/valid.csv", "tiny/none.csv"), "tiny", "no file ../data/tiny/none.csv, seen from here or"),
    ],
)
def test_a_config_of_fuxictr_that_can_not_be_translated(config, change, dataset_id, message):
    config.write_text(CONFIG.replace(*change))
    with pytest.raises(ValueError, match=message):
        main([config], dataset_id=dataset_id)


def test_the_json_schema_holds_for_the_built_in_data_sets_and_for_proposals(describe):
    check = jsonschema.Draft202012Validator(json_schema())
    proposal = describe({"log.csv": joined(RATINGS, ";")}).proposal.yaml()
    for text in (proposal, *(file.read_text() for file in FOLDER.glob("*.yaml"))):
        content = parse_yaml(text)
        assert check.is_valid(content), content
        for wrong in ({**content, "colour": 1}, {**content, "format": "tabel"}, {**content, "name": "x"}):
            assert not check.is_valid(wrong)
    assert not check.is_valid(parse_yaml(proposal + "  x: {kind: text}\n"))


def test_describe_writes_the_json_schema(capsys):
    main(schema=True)
    assert json.loads(capsys.readouterr().out) == json_schema()
