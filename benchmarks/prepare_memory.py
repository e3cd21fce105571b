"""Measure the memory and time that `prepare` takes for long generated logs and tables.

The longest log has 20 million lines; the table has 20 fields. Writes prepare_memory.json and prepare_memory.md beside
this file. An interrupted run continues where it stopped.
"""

import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
import typer
from bench_peers import busy_since, is_doubtful, machine, seconds_of_others
from inputs import FOLDER
from report import ROOT, write
from sides.timing import peak_mib

from pipelines.data.logs import FRAPPE_COLUMNS, TAGS_COLUMNS

LOGS = (  # lines
    ("frappe", 96_203), ("movielens", 2_000_000), ("movielens", 20_000_000), ("frappe", 20_000_000),
    ("table", 10_000_000),
)  # fmt: skip
FIELDS = (1_000_000, 1_000_000, 300_000, 200_000, 20_000, 10_000, *(int(10 ** (1 + n / 3)) for n in range(12)))
NUMBERS = {"age": 80, "price": 1000}  # fields of the table whose values are numbers
SIZES = {  # features of each column
    "movielens": dict(zip(TAGS_COLUMNS, (200_000, 100_000, 1_000_000, 1), strict=True)),
    "frappe": dict(zip(FRAPPE_COLUMNS, (200_000, 1_000_000, 1, 7, 7, 2, 3, 2, 9, 80, 200), strict=True)),
    "table": {"click": 3, **{f"C{n}": size for n, size in enumerate(FIELDS, 1)}, **NUMBERS},
}
TABLE = {
    "format": "table",
    "files": ["log.csv"],
    "label": "click == click 2",
    "fields": {**{f"C{n}": "category" for n in range(1, 19)}, "age": {"kind": "number"}, "price": {"kind": "number"}},
    "split": "order",
}
FILES = {
    "movielens": ("tags.dat", "::", ""),
    "frappe": ("frappe.csv", "\t", "\t".join(FRAPPE_COLUMNS) + "\n"),
    "table": ("log.csv", ",", ",".join(SIZES["table"]) + "\n"),
}
CHUNK_LINES = 1_000_000  # generated at a time
PARAMS = "seed: 2019\ndatasets: [frappe]\nmodels: [fm]\ntune: {num_trials: 1}\n"


def write_log(dataset: str, num_lines: int, folder: Path) -> None:
    """Write a log in the layout of a data set. Features have a probability of about 1 ÷ rank."""
    rng = np.random.default_rng(2019)
    name, separator, header = FILES[dataset]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("wb") as file:
        file.write(header.encode())
        for start in range(0, num_lines, CHUNK_LINES):
            size = min(CHUNK_LINES, num_lines - start)
            ranks = {c: (features ** rng.random(size)).astype(np.int32) for c, features in SIZES[dataset].items()}
            line = pl.concat_str(
                [pl.format("{}" if column in NUMBERS else f"{column} {{}}", column) for column in ranks],
                separator=separator,
            )
            pl.DataFrame(ranks).select(line).write_csv(file, include_header=False, quote_style="never")


def child(dataset: str, root: Path) -> None:
    """Prepare the data set in `root`; print seconds, memory, rows and features."""
    from pipelines.data.catalog import get_dataset
    from pipelines.data.prepared import prepare
    from pipelines.project.params import load_params
    from pipelines.project.paths import Paths

    params, start, cpu = load_params(root / "params.yaml"), time.perf_counter(), time.process_time()
    schema = prepare(get_dataset(dataset, root), params, Paths(root))
    took = {"seconds": time.perf_counter() - start, "peak_mib": peak_mib(), "cpu_seconds": time.process_time() - cpu}
    print(json.dumps(took | {"rows": schema["num_rows"]["total"], "features": schema["num_features"]}))


def measure(dataset: str, num_lines: int) -> dict[str, Any]:
    """Measure `prepare` in a process of its own. Raises CalledProcessError if it fails."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as root:
        folder = Path(root, "data", "raw", dataset) if dataset != "table" else Path(root)
        Path(root, "params.yaml").write_text(PARAMS, encoding="utf-8")
        Path(root, "datasets").mkdir()
        Path(root, "datasets", "table.yaml").write_text(json.dumps(TABLE), encoding="utf-8")
        # A process of its own, to keep this one small: a child's peak memory starts at its parent's.
        writer = multiprocessing.get_context("spawn").Process(target=write_log, args=(dataset, num_lines, folder))
        writer.start()
        writer.join()
        size = (folder / FILES[dataset][0]).stat().st_size / 2**20
        others, start = seconds_of_others(), time.perf_counter()
        command = [sys.executable, __file__, dataset, root]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
        busy = busy_since(others, start)
    return {"dataset": dataset, "lines": num_lines, "log_mib": size} | json.loads(done.stdout) | busy


def main(
    fresh: Annotated[bool, typer.Option("--fresh", help="measure again what is measured already")] = False,
) -> None:
    """Measure what is missing or ran on a busy machine, and write the table. Takes up to 3 GiB of disk."""
    path = ROOT / "prepare_memory.json"
    records = json.loads(path.read_text("utf-8"))["records"] if path.exists() and not fresh else []
    measured = {(r["dataset"], r["lines"]): r for r in records}
    for log in LOGS:
        if log not in measured or is_doubtful(measured[log]):
            measured[log] = result = measure(*log)
            print(f"{log[0]}, {log[1]:,} lines: {result['peak_mib']:,.0f} MiB, {result['seconds']:.1f} s")
            report({log: measured[log] for log in LOGS if log in measured})


def report(measured: dict[tuple[str, int], dict[str, Any]]) -> None:
    """Write prepare_memory.json and prepare_memory.md."""
    records = list(measured.values())
    write("prepare_memory", machine(), records, records, rows=rows(records))


def rows(records: list[dict[str, Any]]) -> list[list[str]]:
    """Return one table row for each log."""
    keys = ("lines", "rows", "features", "log_mib", "peak_mib")
    return [[r["dataset"], *(f"{r[key]:,.0f}" for key in keys), f"{r['seconds']:.1f}"] for r in records]


if __name__ == "__main__":
    if len(sys.argv) == 3:
        child(sys.argv[1], Path(sys.argv[2]))
    else:
        typer.run(main)
