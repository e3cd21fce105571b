"""Tables and picture from results.json, without measuring."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent
PEER_SIDES = ("fuxictr", "deepctr", "torchfm", "recbole")
VERDICT_SIDES = (*PEER_SIDES, "plain", "factorbench")  # in the order of the tables
TITLES = {
    "fuxictr": "FuxiCTR",
    "deepctr": "DeepCTR-Torch",
    "torchfm": "torchfm",
    "recbole": "RecBole",
    "plain": "plain PyTorch",
    "factorbench": "factorbench",
}
PLACES = {"here": ".", "there": "elsewhere"}  # folders with a machine's results.json and roofline.json
BUSY = 0.1  # share of the CPU that other processes took, from which a measurement is doubtful
Record = dict[str, Any]
Cell = tuple[str, int, str, float]  # shape, batch size, model, dropout
Failed = dict[tuple[Cell, str], str]  # what stands in the table where a side has no figure in a cell

METHOD = """\
Each side trains by its own usual entry point with its own data loader, in a process of its own: {threads} threads, no
worker processes, embedding size 256, attention size 256 (frappe) or 16 (movielens), hidden layers of 100 (DeepFM) and
256 (NFM) units, Adagrad with learning rate 0.01, no penalty, no dropout but where it is named.
*frappe* is the prepared data set (202,027 rows to train on, 10 fields, 5,382 features); *movielens* has its shape
(1,404,801 rows, 3 fields, 90,445 features) with generated rows, ids by Zipf's law. A figure is the median, in seconds
an epoch, over segments of at least 1 s after a warm-up, {segments} in all, each scaled to all rows; below it is the
spread from the least to the most.

Not the same everywhere, as the packages don't offer it: the loss is MSE in FuxiCTR, DeepCTR-Torch, plain PyTorch and
factorbench, binary cross-entropy in torchfm and RecBole; torchfm has batch norm in the hidden layer of DeepFM,
DeepCTR-Torch none in NFM, FuxiCTR none on NFM's pooled vector; FuxiCTR clips gradients at each step; the FM of
DeepCTR-Torch is its DeepFM without hidden layers; FuxiCTR's models are put together from its layers, as its package
does not hold them."""


ELSEWHERE = """\
The gain depends on the processor, most of all on the rate of its matrix products, which take a larger part of the time
of factorbench than of its peers'. So here is what the fastest peer takes (plain PyTorch for IFM, INN and DeepIFM),
divided by what factorbench takes, on two machines; the rates are those of `make roofline`."""


def cell_of(record: Record) -> Cell:
    return record["shape"], record["batch_size"], record["model"], record["dropout"]


def by_cell(records: list[Record]) -> dict[Cell, dict[str, Record]]:
    """The records of each cell, by side; factorbench with a setting is a side of its own."""
    cells: dict[Cell, dict[str, Record]] = {}
    for record in records:
        cells.setdefault(cell_of(record), {})[side_of(record)] = record
    return cells


def side_of(record: Record) -> str:
    return f"{record['side']} {record['setting']}".rstrip()


def doubtful(records: list[Record]) -> str:
    """A sentence on the measurements during which the machine was busy otherwise."""
    busy = [r for r in records if r.get("cpu_of_others", 0) > BUSY]
    if not busy:
        return f"During no measurement did other processes take more than {BUSY:.0%} of the CPU."
    names = ", ".join(f"{r['shape']} {r['batch_size']} {label(cell_of(r))} {side_of(r)}" for r in busy)
    return f"**Other processes took more than {BUSY:.0%} of the CPU during {len(busy)} measurements:** {names}."


def label(cell: Cell) -> str:
    _, _, model, dropout = cell
    return f"{model}, dropout {dropout}" if dropout else model


def number(value: float) -> str:
    """With three digits that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def fastest_peer(sides: dict[str, Record]) -> float | None:
    """Seconds an epoch of the fastest peer in a cell; None where none has the model."""
    return min((sides[side]["median"] for side in PEER_SIDES if side in sides), default=None)


def ratio(seconds: float | None, own: Record | None) -> str:
    return "" if seconds is None or own is None else f"{seconds / own['median']:.2f}×"


def table(header: list[str], rows: list[list[str]], align: str = "--:") -> str:
    lines = [header, [":--"] + [align] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def side_table(
    cells: dict[Cell, dict[str, Record]], failed: Failed, figure: Callable[[Record], str]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows with a figure a side; what `failed` says where there is none."""
    more = sorted({side for sides in cells.values() for side in sides} - {*VERDICT_SIDES})
    shown = [s for s in (*VERDICT_SIDES, *more) if any(s in sides or (c, s) in failed for c, sides in cells.items())]
    rows = [
        [
            label(cell),
            *(figure(sides[s]) if s in sides else failed.get((cell, s), "") for s in shown),
        ]
        for cell, sides in cells.items()
    ]
    return ["model", *(TITLES.get(side, side) for side in shown)], rows


def seconds_table(cells: dict[Cell, dict[str, Record]], failed: Failed) -> str:
    def figure(record: Record) -> str:
        spread = f"{number(record['min'])}–{number(record['max'])}"
        return f"{number(record['median'])}<br><sub>{spread}</sub>"

    header, rows = side_table(cells, failed, figure)
    for row, sides in zip(rows, cells.values(), strict=True):
        own, plain = sides.get("factorbench"), sides.get("plain")
        row += [ratio(fastest_peer(sides), own), ratio(plain and plain["median"], own)]
    return table([*header, "fastest peer ÷ factorbench", "plain ÷ factorbench"], rows)


def gain(sides: dict[str, Record]) -> str:
    """How many times as long as factorbench the fastest peer takes, or plain PyTorch where no peer has the model."""
    plain = sides.get("plain", {}).get("median")
    return ratio(fastest_peer(sides) or plain, sides.get("factorbench"))


def product_rate(folder: Path) -> str:
    """GFLOP/s of a matrix product with one thread, as `make roofline` has measured it on the machine."""
    file = folder / "roofline.json"
    rates = json.loads(file.read_text("utf-8"))["machine"]["rates"] if file.exists() else {}
    return f"{rates['1']['matmul'] / 1e9:.0f} GFLOP/s a thread" if rates else "not measured"


def two_machines(cells: dict[Cell, dict[str, Record]], elsewhere: Path) -> list[str]:
    """The gains here and there, where another machine's results are kept; nothing else."""
    if not (elsewhere / "results.json").exists():
        return []
    other = json.loads((elsewhere / "results.json").read_text("utf-8"))
    there = by_cell(other["records"])
    rows = [
        [cell[0], str(cell[1]), label(cell), gain(sides), gain(there.get(cell, {}))] for cell, sides in cells.items()
    ]
    machines = [f"{where}: {product_rate(ROOT / folder)}" for where, folder in PLACES.items()]
    table_of_both = table(["data", "batch", "model", *machines], rows)
    return ["## On another machine", ELSEWHERE, *filter(None, [other.get("note")]), table_of_both]


def memory_table(cells: dict[Cell, dict[str, Record]], failed: Failed) -> str:
    header, rows = side_table(
        cells, failed, lambda r: f"{r['peak_mib']:.0f}<br><sub>{r['resident_before_mib']:.0f}</sub>"
    )
    return table(header, rows)


def evaluation_table(cells: dict[Cell, dict[str, Record]]) -> str:
    rows = []
    for cell, sides in cells.items():
        record = sides.get("factorbench", {})
        if "evaluate_seconds" in record:
            seconds = record["evaluate_seconds"]
            share = f"{seconds / record['median']:.0%}"
            rows.append([label(cell), number(record["median"]), number(seconds), share])
    return (rows and table(["model", "epoch, s", "evaluation, s", "share of an epoch"], rows)) or ""


def markdown(results: Record) -> str:
    """results.md: a section a shape and batch size, then memory, evaluation, versions and what failed."""
    machine = results["machine"]
    failed = {(cell_of(f), side_of(f)): "none" if " has no " in f["error"] else "fails" for f in results["failures"]}
    order = {name: place for place, name in enumerate(("fm", "deepfm", "nfm", "afm", "ffm", "ifm", "inn", "deepifm"))}
    found = by_cell(results["records"])
    for cell, _ in failed:
        found.setdefault(cell, {})
    cells = dict(sorted(found.items(), key=lambda c: (c[0][0], -c[0][1], order.get(c[0][2], 99), -c[0][3])))
    groups: dict[tuple[str, int], dict[Cell, dict[str, Record]]] = {}
    for cell, sides in cells.items():
        groups.setdefault(cell[:2], {})[cell] = sides
    segments = sorted({len(record["segments"]) for record in results["records"]})
    memory = f"{machine['memory_gib']} GiB, " if machine["memory_gib"] else ""
    parts = [
        "# Speed of factorbench and its peers",
        "Made by `make bench-peers`; the figures are in `results.json`.",
        f"Machine: {machine['cpu']}, {machine['cores']} cores, {memory}{machine['os']}, Python {machine['python']}.",
        METHOD.format(threads=machine["threads"], segments="–".join(map(str, segments[:1] + segments[1:][-1:]))),
        doubtful(results["records"]),
        "![Seconds an epoch](../benchmarks/results.svg)",
        "## Seconds an epoch",
    ]
    for (shape, batch_size), group in groups.items():
        parts += [f"### {shape}, batch {batch_size}", seconds_table(group, failed)]
    parts += two_machines(cells, ROOT / PLACES["there"])
    parts += ["## Memory", "The most that the process held, in MiB; below it, what it held before the first batch."]
    for (shape, batch_size), group in groups.items():
        parts += [f"### {shape}, batch {batch_size}, memory", memory_table(group, failed)]
    parts += ["## Evaluation", "`evaluate` of factorbench on all validation rows of frappe (57,722), after an epoch."]
    for (shape, batch_size), group in groups.items():
        if lines := evaluation_table(group):
            parts += [f"### {shape}, batch {batch_size}, evaluation", lines]
    versions = [
        [TITLES[side], ", ".join(f"{package} {version}" for package, version in results["versions"][side].items())]
        for side in VERDICT_SIDES
        if side in results["versions"]
    ]
    parts += [
        "## Versions",
        table(["side", "packages"], versions, ":--"),
        "## What failed",
        failures(results["failures"]),
    ]
    return "\n\n".join(parts) + "\n"


def failures(failed: list[Record]) -> str:
    """A line for each error of a side on a model, with the cells that it hits."""
    hits: dict[tuple[str, str, str], list[str]] = {}
    for failure in failed:
        key = (failure["side"], failure["model"], failure["error"])
        hits.setdefault(key, []).append(f"{failure['shape']} {failure['batch_size']}")
    lines = [
        f"- {TITLES[side]}, {model} ({', '.join(cells)}): `{error}`" for (side, model, error), cells in hits.items()
    ]
    return "\n".join(lines) or "Nothing."


def write_report(results: Path) -> None:
    """results.md, and results.svg where the picture's environment is there, beside results.json."""
    content = json.loads(results.read_text("utf-8"))
    results.with_suffix(".md").write_text(markdown(content), encoding="utf-8")
    python = ROOT / ".venv" / "picture" / "bin" / "python"
    if python.exists():
        subprocess.run([python, ROOT / "picture.py", results], check=True)
