"""Try logs as users have them: describe each, fit some models, and table what comes out.

Writes own_logs.json and own_logs.md beside this file. An interrupted run continues where it stopped. Takes the folder
of the logs, whose licences don't allow to copy them here; a log that is not there is left out.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from bench_peers import busy_since, machine, seconds_of_others
from report import ROOT, write

from pipelines.reporting.tables import figure

MODELS, SECONDS, SEEDS = ("lr", "fm", "deepfm", "ifm"), 180, 3
LOGS = {  # by title: what `describe` is given, and lines of its YAML to replace
    "MovieLens 100K, by time": (["ml-100k.inter", "ml-100k.user", "ml-100k.item"], {}),
    "MovieLens 100K, random rows": (["ml-100k.inter", "ml-100k.user", "ml-100k.item"], {"split": "random"}),
    "TripAdvisor": (["tripadvisor.csv"], {}),
    "Criteo, 1,999 rows": (["criteo_tiny.csv"], {}),
    "Avazu, 2,994 rows": (["avazu_tiny.csv"], {}),
    "Adult": (["adult.parquet"], {}),
    "FuxiCTR's sample": (["fuxictr_train.csv", "fuxictr_valid.csv", "fuxictr_test.csv"], {}),
}


def try_log(files: list[Path], changes: dict[str, str]) -> dict[str, Any]:
    """Describe a log and fit the models. Returns what was found and the leaderboard."""
    program = [sys.executable, "-m", "pipelines.main"]
    with tempfile.TemporaryDirectory() as folder:

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run([*program, *words], cwd=folder, capture_output=True, text=True, check=True)

        described = run("describe", *map(str, files))
        content = {**yaml.safe_load(described.stdout), **changes}
        (Path(folder) / "datasets").mkdir()
        (Path(folder) / "datasets" / "log.yaml").write_text(yaml.safe_dump(content), "utf-8")
        others, start = seconds_of_others(), time.perf_counter()
        run(
            "fit",
            "--dataset",
            "log",
            "--models",
            ",".join(MODELS),
            "--time-budget",
            f"{SECONDS}s",
            "--num-trials",
            "20",
        )
        seconds = time.perf_counter() - start
        results = Path(folder) / "runs" / "log" / "results"
        board = json.loads((results / "leaderboard.json").read_text("utf-8"))
        card = json.loads((results / "log" / "card.json").read_text("utf-8"))
    warnings = re.findall(r"WARNING: (.*)", described.stderr)
    return {"seconds": seconds, "warnings": warnings, "card": card, "board": board, **busy_since(others, start)}


def main(logs: Annotated[Path, typer.Argument(help="the folder of the logs")]) -> None:
    """Try the logs that were not tried yet, and write the table."""
    path = ROOT / "own_logs.json"
    tried = {r["log"]: r for r in json.loads(path.read_text("utf-8"))["records"]} if path.exists() else {}
    for title, (names, changes) in LOGS.items():
        files = [(logs / name).resolve() for name in names]
        if title not in tried and all(file.exists() for file in files):
            tried[title] = {"log": title, **try_log(files, changes)}
            print(f"{title}: {tried[title]['seconds']:.0f} s", flush=True)
            write("own_logs", machine(), list(tried.values()), tried.values(), **values(tried))


def values(tried: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Build the rows of the table."""
    rows = []
    for title, record in tried.items():
        auc = {row["model"]: (row["test_auc_mean"], row["test_auc_std"]) for row in record["board"]}
        counts, fields = record["card"]["num_rows"], len(record["card"]["field_dims"])
        cells = [figure(*auc[model]) if model in auc else "–" for model in MODELS]
        seeds = min(row["num_seeds"] for row in record["board"] if row["model"] in MODELS)
        rows.append([title, f"{counts['total']:,}", fields, *cells, seeds, f"{record['seconds']:.0f}"])
    return {"models": list(MODELS), "rows": rows, "seconds": SECONDS, "seeds": SEEDS}


if __name__ == "__main__":
    typer.run(main)
