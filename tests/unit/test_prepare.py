import hashlib
import json
import os
import subprocess
import sys
from math import ceil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipelines.data.card import describe, read_card
from pipelines.data.catalog import get_dataset
from pipelines.data.logs import FRAPPE_COLUMNS
from pipelines.data.prepared import prepare, write_parquet
from pipelines.data.synthetic import write_log
from pipelines.prepare import main
from pipelines.project.files import write_json
from pipelines.project.params import load_params
from pipelines.project.paths import Paths
from pipelines.project.seeds import seed_for

PARAMS = "seed: 2019\ndatasets: [synthetic]\nmodels: [fm]\ntune: {num_trials: 1}\n"
SPLITS = ("train", "valid", "test")
LIBFM_NAMES = [f"ml-tag.{part}.libfm" for part in ("train", "validation", "test")]


@pytest.fixture
def project(tmp_path):
    (tmp_path / "params.yaml").write_text(PARAMS)
    return tmp_path


def run_prepare(project, dataset):
    return prepare(get_dataset(dataset), load_params(project / "params.yaml"), Paths(project))


def read_processed(project, dataset):
    folder = Paths(project).processed(dataset)
    return {name: pl.read_parquet(folder / f"{name}.parquet") for name in (*SPLITS, "vocabulary")}


def write_tags(project, *lines):
    folder = Paths(project).raw("movielens")
    folder.mkdir(parents=True)
    (folder / "tags.dat").write_text("".join(f"{line}::0\n" for line in lines))


def write_libfm(project, *files):
    folder = Paths(project).raw("movielens-nfm")
    folder.mkdir(parents=True)
    for name, lines in zip(LIBFM_NAMES, files, strict=True):
        (folder / name).write_text("\r\n".join(lines))


def test_the_synthetic_log_becomes_splits_with_negatives(project):
    write_log(Paths(project).raw("synthetic"), 1)
    schema = run_prepare(project, "synthetic")
    frames = read_processed(project, "synthetic")
    log = pl.read_csv(Paths(project).raw("synthetic") / "log.csv")
    fields = list(get_dataset("synthetic").fields)
    for split in SPLITS:
        assert frames[split].schema == {"label": pl.Int8, **dict.fromkeys(fields, pl.Int32)}
        assert schema["num_rows"][split] == frames[split].height
        assert schema["num_positives"][split] == (frames[split]["label"] == 1).sum()
    rows = pl.concat(frames[split] for split in SPLITS)
    assert schema["num_rows"]["total"] == rows.height == 3 * log.height
    assert schema["num_positives"]["total"] == log.height
    assert schema["num_rows"]["train"] == 3 * ceil(log.height * 7 / 10)
    assert schema["num_rows"]["valid"] == 3 * ceil(log.height * 2 / 10)
    assert rows.drop("label").is_unique().all()


def test_positives_decode_to_the_log(project):
    write_log(Paths(project).raw("synthetic"), 1)
    run_prepare(project, "synthetic")
    frames = read_processed(project, "synthetic")
    raw_values = frames["vocabulary"]["raw_value"]
    positives = pl.concat(frames[split] for split in SPLITS).filter(pl.col("label") == 1).drop("label")
    decoded = positives.select(pl.all().map_batches(lambda ids: raw_values.gather(ids), return_dtype=pl.String))
    log = pl.read_csv(Paths(project).raw("synthetic") / "log.csv")
    assert decoded.sort(pl.all()).equals(log.sort(pl.all()))


def test_the_schema_tells_fields_sizes_seeds_and_checksums(project):
    write_log(Paths(project).raw("synthetic"), 1)
    run_prepare(project, "synthetic")
    folder = Paths(project).processed("synthetic")
    schema = json.loads((folder / "schema.json").read_text())
    vocabulary = pl.read_parquet(folder / "vocabulary.parquet")
    assert schema["dataset"] == "synthetic"
    assert schema["fields"] == list(get_dataset("synthetic").fields)
    sizes = vocabulary.group_by("field", maintain_order=True).len()
    assert sizes.rows() == list(zip(schema["fields"], schema["field_dims"], strict=True))
    assert schema["num_features"] == sum(schema["field_dims"]) == vocabulary.height
    assert vocabulary["feature_id"].to_list() == list(range(vocabulary.height))
    assert vocabulary.schema == {"field": pl.String, "feature_id": pl.Int32, "raw_value": pl.String}
    assert schema["sparsity"] == 7 / schema["num_features"]
    assert schema["seeds"] == {
        "root": 2019,
        "negatives": seed_for(2019, "prepare", "synthetic", "negatives"),
        "split": seed_for(2019, "prepare", "synthetic", "split"),
    }
    assert json.loads((folder / "files.json").read_text()) == {
        f"{name}.parquet": hashlib.sha256((folder / f"{name}.parquet").read_bytes()).hexdigest()
        for name in (*SPLITS, "vocabulary")
    }


def test_a_second_run_writes_the_same_bytes_and_another_seed_does_not(project):
    write_log(Paths(project).raw("synthetic"), 1)
    folder = Paths(project).processed("synthetic")
    contents = []
    for params in (PARAMS, PARAMS, PARAMS.replace("2019", "2020")):
        (project / "params.yaml").write_text(params)
        run_prepare(project, "synthetic")
        contents.append({file.name: file.read_bytes() for file in sorted(folder.iterdir())})
    first, second, other = contents
    assert list(first) == [
        "files.json",
        "schema.json",
        "test.parquet",
        "train.parquet",
        "valid.parquet",
        "vocabulary.parquet",
    ]
    assert first == second
    assert first["train.parquet"] != other["train.parquet"]
    assert first["vocabulary.parquet"] == other["vocabulary.parquet"]


def test_another_number_of_negatives_and_other_shares(project):
    (project / "params.yaml").write_text(PARAMS + "prepare: {num_negatives: 1, train: 0.5, valid: 0.25}\n")
    write_tags(project, *(f"u{n}::m::t{n}" for n in range(60)))
    schema = run_prepare(project, "movielens")
    assert schema["num_rows"] == {"train": 60, "valid": 30, "test": 30, "total": 120}
    assert schema["field_dims"] == [60, 1, 60]


def test_new_pairs_are_on_one_side_only(project):
    write_log(Paths(project).raw("synthetic"), 1)
    pairs = {}
    for split in ("random", "new_pairs"):
        (project / "params.yaml").write_text(PARAMS + f"prepare: {{split: {split}}}\n")
        schema = run_prepare(project, "synthetic")
        frames = read_processed(project, "synthetic")
        pairs[split] = {name: set(frames[name].select("user", "item").rows()) for name in SPLITS}
        rows = pl.concat(frames[name] for name in SPLITS).sort(pl.all())
        pairs[split]["rows"] = rows.rows()
        assert schema["num_rows"]["train"] == pytest.approx(0.7 * schema["num_rows"]["total"], abs=20)
        assert schema["num_rows"]["test"] == pytest.approx(0.1 * schema["num_rows"]["total"], abs=20)
        assert all(0.3 < schema["num_positives"][name] / schema["num_rows"][name] < 0.37 for name in SPLITS)
    assert pairs["random"]["train"] & pairs["random"]["test"]
    parts = [pairs["new_pairs"][name] for name in SPLITS]
    assert len(set.union(*parts)) == sum(map(len, parts))  # they share none
    assert pairs["new_pairs"]["rows"] == pairs["random"]["rows"]  # the same lines and negatives


def test_the_negatives_of_a_line_are_in_its_part_so_that_counting_tells_nothing(project):
    frappe_log(project, 300, user=100, item=2000, others=1)  # three lines of a user have the same context
    counting = {}
    for split in ("random", "lines"):
        (project / "params.yaml").write_text(PARAMS + f"prepare: {{split: {split}}}\n")
        schema, frames = run_prepare(project, "frappe"), read_processed(project, "frappe")
        assert schema["num_rows"] == {"train": 630, "valid": 180, "test": 90, "total": 900}
        counting[split] = read_card(Paths(project), "frappe").auc_of_counting
        assert counting[split] == pytest.approx(auc_of_counting(frames["train"], frames["test"], "item"))
    assert counting["random"] > 0.6
    assert counting["lines"] == 0.5
    for frame in (frames[name] for name in SPLITS):
        context = [name for name in frame.columns if name not in ("label", "item")]
        counts = frame.group_by(context).agg((pl.col("label") == 1).sum(), negatives=(pl.col("label") == -1).sum())
        assert (counts["negatives"] == 2 * counts["label"]).all()


def test_a_released_split_is_not_split_again(project, run_program):
    (project / "params.yaml").write_text(PARAMS + "prepare: {split: new_pairs}\n")
    write_libfm(project, ["1 0:1 1:1 2:1"], ["1 0:1 1:1 2:1"], ["1 0:1 1:1 2:1"])
    code, stdout, stderr = run_program("movielens-nfm")
    assert (code, stdout) == (1, "")
    assert stderr == "error: data set 'movielens-nfm' comes with its split, which can't be new_pairs\n"


def test_lines_are_the_default(project):
    frappe_log(project, 300, user=100, item=2000, others=1)
    written = {}
    for how in ("split: random", "split: lines", ""):
        (project / "params.yaml").write_text(PARAMS + f"prepare: {{{how}}}\n")
        written[how] = run_prepare(project, "frappe")["values"], read_card(Paths(project), "frappe").split
    first, second, default = written.values()
    assert first != second == default


def test_libfm_files_are_the_splits_as_they_are(project):
    train = ["1 2:1 11:1 21:1", "-1 0:1 10:1 20:1 # unsorted next", "-1 22:1 2:1 11:1"]
    write_libfm(project, train, ["-1 0:1 11:1 20:1", "1 3:1 11:1 21:1"], ["1 2:1 12:1 21:1", "-1 2:1 12:1 23:1"])
    schema = run_prepare(project, "movielens-nfm")
    frames = read_processed(project, "movielens-nfm")
    assert frames["train"].rows() == [(1, 0, 3, 6), (-1, 1, 4, 7), (-1, 0, 3, 8)]
    assert frames["valid"].rows() == [(-1, 1, 3, 7), (1, 2, 3, 6)]
    assert frames["test"].rows() == [(1, 0, 5, 6), (-1, 0, 5, 9)]
    assert frames["train"].schema == dict(label=pl.Int8, user=pl.Int32, movie=pl.Int32, tag=pl.Int32)
    assert frames["vocabulary"]["raw_value"].to_list() == [
        "2",
        "0",
        "3",
        "11",
        "10",
        "12",
        "21",
        "20",
        "22",
        "23",
    ]
    assert schema["num_rows"] == {"train": 3, "valid": 2, "test": 2, "total": 7}
    assert schema["num_positives"] == {"train": 1, "valid": 1, "test": 1, "total": 3}
    assert schema["seeds"] == {"root": 2019, "negatives": None, "split": None}


def test_values_other_than_one_get_columns_of_their_own_in_the_order_of_the_fields(project):
    train = ["1 2:0.5 11:1 21:1", "-1 0:1 20:3 10:1"]
    write_libfm(project, train, ["-1 0:1 11:1 20:1", "1 3:1 11:1 21:1"], ["1 2:1 12:1 21:1", "-1 2:1 12:1 23:1"])
    run_prepare(project, "movielens-nfm")
    train = read_processed(project, "movielens-nfm")["train"]
    assert train.select("value:user", "value:movie", "value:tag").rows() == [(0.5, 1, 1), (1, 1, 3)]
    assert train.select("user", "movie", "tag").rows() == [(0, 3, 6), (1, 4, 7)]


def test_libfm_fields_that_mix_are_an_error(project):
    write_libfm(project, ["1 0:1 1:1 2:1"], ["-1 1:1 2:1 3:1"], ["1 0:1 1:1 2:1"])
    with pytest.raises(ValueError, match="data set 'movielens-nfm': can't tell the fields"):
        run_prepare(project, "movielens-nfm")


def test_a_split_with_one_class_is_an_error(project):
    both = ["1 0:1 1:1 2:1", "-1 0:1 1:1 3:1"]
    write_libfm(project, both, both[1:], both)
    with pytest.raises(ValueError, match="'movielens-nfm': the valid split has only rows with label -1"):
        run_prepare(project, "movielens-nfm")
    assert not Paths(project).processed("movielens-nfm").exists()


def test_an_empty_libfm_file_is_an_error(project):
    both = ["1 0:1 1:1 2:1", "-1 0:1 1:1 3:1"]
    write_libfm(project, both, both, [])
    with pytest.raises(ValueError, match=r"movielens-nfm.ml-tag\.test\.libfm: the file has no rows"):
        run_prepare(project, "movielens-nfm")


def test_a_split_without_rows_is_an_error(project):
    (project / "params.yaml").write_text(PARAMS + "prepare: {train: 0.98, valid: 0.01}\n")
    write_tags(project, *(f"u{n}::m::t{n}" for n in range(10)))
    with pytest.raises(ValueError, match="'movielens': the valid split has no rows; the AUC needs both classes"):
        run_prepare(project, "movielens")


def test_a_failed_run_leaves_no_schema_of_an_earlier_one(project, monkeypatch):
    write_tags(project, *(f"u{n}::m::t{n}" for n in range(50)))
    run_prepare(project, "movielens")
    monkeypatch.setattr("pipelines.data.prepared.write_parquet", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_prepare(project, "movielens")
    assert not (Paths(project).processed("movielens") / "schema.json").exists()


def test_a_full_disk_is_an_error_with_the_name_of_the_file(tmp_path, monkeypatch):
    path = tmp_path / "train.parquet"
    monkeypatch.setattr("pipelines.project.files.os.getpid", lambda: 1)
    (tmp_path / ".train.parquet.1.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left.*train\.parquet"):
        write_parquet(path, pl.LazyFrame({"user": range(10)}))
    assert list(tmp_path.iterdir()) == []


PEAK = """
import sys
from pathlib import Path
from pipelines.prepare import main

def peak_kib():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

before = peak_kib()
main("frappe", Path(sys.argv[1]))
print(peak_kib() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_a_million_lines_take_little_memory(project):
    rng, sizes = np.random.default_rng(0), {"user": 1000, "item": 10_000}
    log = pl.DataFrame({name: rng.integers(sizes.get(name, 5), size=1_000_000) for name in FRAPPE_COLUMNS})
    folder = Paths(project).raw("frappe")
    folder.mkdir(parents=True)
    log.write_csv(folder / "frappe.csv", separator="\t")
    command = [sys.executable, "-c", PEAK, project / "params.yaml"]
    environment = {**os.environ, "POLARS_MAX_THREADS": "2"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert int(done.stdout.split()[-1]) * 1024 < 330 * 1_000_000  # at most 330 bytes per line; 250 to 280 are taken


@pytest.fixture
def run_program(project, program):
    """Return a function that does what `python -m pipelines.prepare` does for a data set."""
    return lambda dataset: program(main, "--dataset", dataset, "--params", str(project / "params.yaml"))


def test_the_program_prints_the_sizes_and_how_many_test_rows_have_a_known_pair(project, run_program):
    train = ["1 1:1 11:1 21:1", "1 2:1 12:1 22:1", "-1 3:1 13:1 23:1"]
    test = ["1 1:1 11:1 22:1", "1 1:1 12:1 21:1", "1 3:1 13:1 23:1", "-1 2:1 12:1 22:1", "-1 3:1 11:1 21:1"]
    write_libfm(project, train, train, test)
    code, stdout, stderr = run_program("movielens-nfm")
    folder = Paths(project).processed("movielens-nfm")
    assert (code, stderr) == (0, "")
    assert stdout.splitlines() == [
        f"movielens-nfm: 3 train, 3 valid and 5 test rows of 9 features in {folder}",
        "0 of 3 test positives have the user, movie and tag of a training positive",
        "1 of 2 test negatives have the user, movie and tag of a training positive",
        "Ranked by the share of negatives among training rows that differ only in the tag, test rows have AUC 0.6667; "
        "0.5 would give nothing away.",
    ]


def frappe_log(project, num_lines, user=8, item=40, others=5):
    """Write a log in Frappe's format; with so few items, lines repeat pairs of user and item."""
    rng = np.random.default_rng(3)
    folder = Paths(project).raw("frappe")
    folder.mkdir(parents=True)
    sizes = {"user": user, "item": item}
    log = pl.DataFrame({name: rng.integers(sizes.get(name, others), size=num_lines) for name in FRAPPE_COLUMNS})
    log.write_csv(folder / "frappe.csv", separator="\t")
    return folder / "frappe.csv"


def auc_of_counting(train, test, replaced):
    """Compare each test positive with each test negative by their negatives in train."""
    context = [name for name in train.columns if name not in ("label", replaced)]
    labels = {key: [] for key in test.select(context).rows()}
    for label, *key in train.select("label", *context).rows():
        labels.get(tuple(key), []).append(label)
    known = [label for found in labels.values() for label in found]
    prior = known.count(-1) / max(1, len(known))
    scores = {1: [], -1: []}
    for label, *key in test.select("label", *context).rows():
        rows = labels[tuple(key)]
        scores[label].append(round((rows.count(-1) + prior) / (len(rows) + 1), 6))
    wins = [(high > low) + (high == low) / 2 for high in scores[1] for low in scores[-1]]
    return sum(wins) / len(wins)


@pytest.mark.parametrize("split", ["random", "lines", "new_pairs"])
def test_the_card_counts_the_pairs_that_a_test_row_shares_with_a_training_positive(project, split):
    file = frappe_log(project, 90)
    (project / "params.yaml").write_text(PARAMS + f"prepare: {{split: {split}}}\n")
    schema, frames = run_prepare(project, "frappe"), read_processed(project, "frappe")
    card = read_card(Paths(project), "frappe")
    known = set(frames["train"].filter(pl.col("label") == 1).select("user", "item").rows())
    shared = {label: [] for label in (1, -1)}
    for label, *pair in frames["test"].select("label", "user", "item").rows():
        shared[label].append(tuple(pair) in known)
    pairs = card.known_pairs
    assert pairs.fields == ["user", "item"]
    assert (pairs.positives.known, pairs.positives.rows) == (sum(shared[1]), len(shared[1]))
    assert (pairs.negatives.known, pairs.negatives.rows) == (0, len(shared[-1]))
    assert pairs.positives.share > 0 or split != "random"
    assert pairs.positives.share == 0 or split != "new_pairs"
    assert card.auc_of_counting == pytest.approx(auc_of_counting(frames["train"], frames["test"], "item"))
    assert card.split == split
    assert card.field_dims == dict(zip(schema["fields"], schema["field_dims"], strict=True))
    assert (card.num_rows, card.num_positives) == (schema["num_rows"], schema["num_positives"])
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert card.origin == {"frappe.csv": {"sha256": digest, "released": None}}
    assert card.notes == []


def test_the_card_says_of_a_file_whether_it_is_the_released_one_as_long_as_it_is_the_same(project):
    file = frappe_log(project, 90)
    released = describe(file, get_dataset("frappe").sources[0], True, "sha256:00")
    write_json(file.with_name("sources.json"), [released.model_dump()])
    run_prepare(project, "frappe")
    assert read_card(Paths(project), "frappe").origin["frappe.csv"]["released"] is True
    file.write_bytes(file.read_bytes() + b"\t".join([b"0"] * 11) + b"\n")
    run_prepare(project, "frappe")
    assert read_card(Paths(project), "frappe").origin["frappe.csv"]["released"] is None


def test_the_card_names_a_known_variant_of_the_released_file(project):
    both = ["1 0:1 1:1 2:1", "-1 0:1 1:1 3:1"]
    write_libfm(project, both, both, both)
    file, digest = Paths(project).raw("movielens-nfm") / LIBFM_NAMES[0], "sha256:12ab"
    source = get_dataset("movielens-nfm").sources[0].model_copy(update={"variants": {digest: "other negatives"}})
    for checksum, note in ((digest, ": other negatives"), ("sha256:34", "")):
        raw_file = describe(file, source, False, checksum)
        write_json(file.with_name("sources.json"), [raw_file.model_dump()])
        run_prepare(project, "movielens-nfm")
        card = read_card(Paths(project), "movielens-nfm")
        assert card.notes == [f"{LIBFM_NAMES[0]} is not the released file{note}"]
        assert card.split == "released"


def test_missing_raw_files_say_how_to_get_them(project, run_program):
    code, stdout, stderr = run_program("frappe")
    file = Paths(project).raw("frappe") / "frappe.csv"
    assert (code, stdout) == (1, "")
    hint = f"run `python -m pipelines.download --params {project / 'params.yaml'} --dataset frappe`"
    assert stderr == f"error: {file} is missing; {hint}\n"


def test_an_unknown_data_set_lists_the_known_ones(run_program):
    code, _, stderr = run_program("netflix")
    assert code == 1
    assert "frappe-nfm" in stderr
    assert stderr.count("\n") == 1


def notes(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]


def write_csv(project, lines):
    folder = Paths(project).raw("synthetic")
    folder.mkdir(parents=True)
    header = ",".join(get_dataset("synthetic").fields)
    (folder / "log.csv").write_text("\n".join([header, *lines]) + "\n")


def test_lines_that_the_log_repeats_are_noted_with_the_number_of_test_positives(project, capsys):
    lines = [f"u{n},i{n % 40},a,b,c,d,e" for n in range(60)]
    write_csv(project, [line for line in lines for _ in range(5)])
    run_prepare(project, "synthetic")
    frames = read_processed(project, "synthetic")
    train = set(frames["train"].filter(pl.col("label") == 1).rows())
    positives = frames["test"].filter(pl.col("label") == 1).rows()
    repeated = sum(row in train for row in positives)
    assert repeated > len(positives) / 2
    (note,) = notes(capsys)
    assert note.startswith(
        f"note: data set 'synthetic': {repeated} of {len(positives)} test positives are in train too, because "
    )


def test_a_log_without_repeats_has_no_note(project, capsys):
    write_csv(project, [f"u{n % 60},i{n % 39},a,b,c,d,e" for n in range(300)])
    run_prepare(project, "synthetic")
    assert notes(capsys) == []


@pytest.mark.parametrize("split", ["random", "lines", "new_pairs"])
def test_a_user_without_enough_unused_items_is_left_out_with_a_note(project, capsys, split):
    (project / "params.yaml").write_text(PARAMS + f"prepare: {{split: {split}}}\n")
    others = [f"u{n},i{n % 39},a,b,c,d,e" for n in range(300)]
    write_csv(project, [*others[:150], *(f"busy,i{n},a,b,c,d,e" for n in range(39)), *others[150:]])
    schema = run_prepare(project, "synthetic")
    assert schema["num_positives"]["total"] == 300
    assert schema["num_rows"]["total"] == 900
    frames = read_processed(project, "synthetic")
    (busy,) = frames["vocabulary"].filter(pl.col("raw_value") == "busy")["feature_id"]
    assert not any((frames[name]["user"] == busy).any() for name in SPLITS)
    pairs = [set(frames[name].select("user", "item").rows()) for name in SPLITS]
    assert split != "new_pairs" or len(set.union(*pairs)) == sum(map(len, pairs))
    (note,) = notes(capsys)
    assert note == (
        "note: data set 'synthetic': 39 of 339 lines are left out, the first for this: no item left for a negative "
        "with user 'busy': 39 of all 39 occur with it in the log, and 78 more are needed"
    )
