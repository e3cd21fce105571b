"""Make the table of faults from test reports.

Usage: python tests/faults/table.py FILE …, where `pytest -m fault --junitxml=FILE` wrote each FILE.
"""

import sys
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from xml.etree import ElementTree

from pipelines.project.files import write_text
from pipelines.reporting.pages import render

TABLE = Path(__file__).parents[2] / "results" / "faults.md"
MANY = 8  # a row of at least so many tests names only their files

KILLED = "no finished trial is lost and none counted twice, the budget is spent as without the kill; "
ROWS = {  # what a test is marked with: the fault, and what holds
    "driver": ("`kill -9` of a search", KILLED + "all that it started ends"),
    "worker": ("`kill -9` of a trial's worker", "the search goes on; the trial is run again, or has failed for that"),
    "raylet": ("`kill -9` of Ray's raylet", KILLED + "the search ends with an error"),
    "dvc": ("`kill -9` of `dvc`", KILLED + "while the search it left still runs, another one says so and stops"),
    "interrupt": ("Ctrl-C, once and twice", "the exit code is not 0, DVC records nothing; run again, it goes on"),
    "torn": (
        "a power cut while something is written",
        "results are whole or not there; a record cut off is dropped with a warning, those before it are kept; "
        "a damaged result names the stage to run again",
    ),
    "disk": (
        "a full disk, a folder that can't be written",
        "one line of error names the path, earlier results stay as they are; run again with room, the work goes on",
    ),
    "trial": (
        "a trial raises, diverges, is out of memory, hangs or takes too long",
        "it has failed with its reason, and is tried again where its worker died; the search goes on; "
        "all trials failing is an error with the first reason",
    ),
    "twice": ("two runs of a cell at once", "the second names the process and host of the first, and stops"),
    "changed": (
        "space, params, data or behaviour changed",
        "another study; the old one is kept, the two are never mixed",
    ),
    "data": ("prepared data changed or damaged", "refused, with the stage to run again"),
    "resources": ("more CPUs or GPUs asked for than there are", "an error at once"),
    "hostile": ("hostile input", "refused with one line, nothing written outside its folder, no code run"),
    "network": ("a stranger on the network", "a cluster of this machine listens on loopback only, and wants its token"),
}  # fmt: skip


def main(files: list[str]) -> int:
    """Write the table; return 1 if a fault was not held or not tried."""
    cases = defaultdict(list)
    for case in (case for file in files for case in ElementTree.parse(file).iter("testcase")):
        for found in case.iterfind("properties/property[@name='fault']"):
            cases[found.get("value")].append(case)
    if unknown := cases.keys() - ROWS.keys():
        sys.exit(f"tests are marked with faults that are no row: {', '.join(sorted(unknown))}")
    held = {name: outcome(cases[name]) for name in ROWS}
    rows = [(*ROWS[name], tests(cases[name]), held[name]) for name in ROWS]
    versions = ", ".join(f"{package} {version(package)}" for package in ("ray", "optuna", "dvc", "torch"))
    page = render(Path(__file__).with_name("faults.md.j2"), python=python_version(), versions=versions, rows=rows)
    write_text(TABLE, page)
    return int(any(text.startswith(("FAILED", "not tried")) for text in held.values()))


def tests(cases: list[ElementTree.Element]) -> str:
    """List the names of tests without parameters, or only their files if there are MANY."""
    names = sorted(
        {(case.get("classname", "").replace(".", "/"), case.get("name", "").split("[")[0]) for case in cases}
    )
    if len(names) < MANY:
        return "<br>".join(f"`{test}`" for _, test in names)
    return "<br>".join(f"all of `{file}.py` that is marked so" for file in sorted({file for file, _ in names}))


def outcome(cases: list[ElementTree.Element]) -> str:
    """Say how many tests passed, how many moments they tried and how long they took."""
    failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
    skipped = sum(case.find("skipped") is not None for case in cases)
    if failed or skipped == len(cases):
        return f"FAILED ({failed} of {len(cases)})" if failed else "not tried"
    moments = sum(
        int(found.get("value", 0)) for case in cases for found in case.iterfind(".//property[@name='moments']")
    )
    seconds = sum(float(case.get("time", 0)) for case in cases)
    parts = [f"held, {len(cases) - skipped} tests" if len(cases) - skipped > 1 else "held"]
    parts += [f"{moments} random moments"] * bool(moments) + [f"{skipped} skipped"] * bool(skipped)
    return ", ".join([*parts, f"{seconds:.0f} s"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
