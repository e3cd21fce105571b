import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from pipelines.data.catalog import get_dataset
from pipelines.data.tables import read_table, stored_table

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


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_a_long_table_is_not_held_as_text(own, tmp_path):
    rng, fields = np.random.default_rng(0), [f"a field with a long name {n}" for n in range(20)]
    columns = {name: pl.Series(rng.integers(1000, size=200_000)).cast(pl.String) + " " + name for name in fields}
    pl.DataFrame({"click": rng.integers(2, size=200_000), **columns}).write_csv(tmp_path / "clicks.csv")
    own(["clicks.csv"], fields)
    command = [sys.executable, "-c", PEAK, tmp_path / "params.yaml"]
    environment = {**os.environ, "POLARS_MAX_THREADS": "2"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert int(done.stdout.split()[-1]) >> 10 < 380  # MiB; with all columns in memory 465
