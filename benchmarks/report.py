"""Write the pages and the chart from stored figures, without measuring."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipelines.project.files import write_text
from pipelines.reporting.pages import render

ROOT = Path(__file__).parent
TEMPLATES = ROOT / "templates"
MODELS = ("fm", "deepfm", "nfm", "afm", "ffm", "ifm", "inn", "deepifm")  # in the order of tables and charts
PEER_SIDES = ("fuxictr", "deepctr", "torchfm", "recbole")
VERDICT_SIDES = (*PEER_SIDES, "plain", "factorbench")  # in the order of the tables
COMPILED = {  # by side, the models that it has
    "libffm": ("ffm",),
    "modern_fm": ("fm", "ffm"),
    "myfm": ("fm",),
    "vowpal": ("ffm",),
    "xlearn": ("fm", "ffm"),
}
TITLES = {
    "fuxictr": "FuxiCTR",
    "deepctr": "DeepCTR-Torch",
    "torchfm": "torchfm",
    "recbole": "RecBole",
    "plain": "plain PyTorch",
    "factorbench": "factorbench",
    "libffm": "LIBFFM",
    "modern_fm": "modern-fm",
    "myfm": "myFM",
    "vowpal": "Vowpal Wabbit",
    "xlearn": "xLearn",
}
BUSY = 0.1  # a measurement is doubtful if other processes took a larger share of the CPU
Record = dict[str, Any]
Cell = tuple[str, int, str, float]  # shape, batch size, model, dropout
Cells = dict[Cell, dict[str, Record]]  # by side
Failed = dict[tuple[Cell, str], str]  # text for a cell in which a side has no figure


def cell_of(record: Record) -> Cell:
    return record["shape"], record["batch_size"], record["model"], record["dropout"]


def in_batches(records: list[Record]) -> list[Record]:
    """Leave out the records of compiled packages, which have a table of their own."""
    return [record for record in records if record["side"] not in COMPILED]


def by_cell(records: list[Record]) -> Cells:
    """Group the records by cell and side; factorbench with a setting is another side."""
    cells: Cells = {}
    for record in in_batches(records):
        cells.setdefault(cell_of(record), {})[side_of(record)] = record
    return cells


def side_of(record: Record) -> str:
    return f"{record['side']} {record['setting']}".rstrip()


def doubtful(records: list[Record]) -> list[str]:
    """Name the measurements that ran on a busy machine."""
    busy = [r for r in records if r.get("cpu_of_others", 0) > BUSY]
    return [f"{r['shape']} {r['batch_size']} {label(cell_of(r))} {side_of(r)}" for r in busy]


def label(cell: Cell) -> str:
    _, _, model, dropout = cell
    return f"{model}, dropout {dropout}" if dropout else model


def number(value: float) -> str:
    """Format a value with three significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def fastest_peer(sides: dict[str, Record]) -> float | None:
    """Return the fastest peer's seconds for an epoch; None if no peer has the model."""
    return min((sides[side]["median"] for side in PEER_SIDES if side in sides), default=None)


def ratio(seconds: float | None, own: Record | None) -> str:
    return "" if seconds is None or own is None else f"{seconds / own['median']:.2f}×"


def seconds_table(cells: Cells, failed: Failed) -> dict[str, list[Any]]:
    """Make the table of seconds, with the range below the median.

    The last columns divide the seconds of the fastest peer and of plain PyTorch by factorbench's. Where a side has no
    figure, `failed` has the text.
    """
    more = sorted({side for sides in cells.values() for side in sides} - {*VERDICT_SIDES})
    shown = [s for s in (*VERDICT_SIDES, *more) if any(s in sides or (c, s) in failed for c, sides in cells.items())]

    def figure(record: Record) -> str:
        spread = f"{number(record['min'])}–{number(record['max'])}"
        return f"{number(record['median'])}<br><sub>{spread}</sub>"

    rows = [
        [
            *cell[:2],
            label(cell),
            *(figure(sides[s]) if s in sides else failed.get((cell, s), "") for s in shown),
            ratio(fastest_peer(sides), sides.get("factorbench")),
            ratio(sides.get("plain", {}).get("median"), sides.get("factorbench")),
        ]
        for cell, sides in cells.items()
    ]
    titles = [TITLES.get(side, side) for side in shown]
    return {
        "columns": ["data", "batch", "model", *titles, "fastest peer ÷ factorbench", "plain ÷ factorbench"],
        "rows": rows,
    }


def compiled_rows(records: list[Record], cells: Cells) -> list[list[Any]]:
    """Compare the seconds of compiled packages with factorbench's at batches of 4096 and 128."""

    def beside(record: Record, batch_size: int) -> str:
        own = cells.get((record["shape"], batch_size, record["model"], 0.0), {}).get("factorbench")
        return f"{number(own['median'])}<br><sub>{ratio(record['median'], own)}</sub>" if own else ""

    found = sorted((r for r in records if r["side"] in COMPILED), key=lambda r: (r["shape"], r["model"], r["median"]))
    return [
        [r["shape"], r["model"], TITLES[r["side"]], r["algorithm"], r["threads"], number(r["median"])]
        + [beside(r, batch_size) for batch_size in (4096, 128)]
        for r in found
    ]


def memory_rows(cells: Cells) -> list[list[Any]]:
    """List the peak memory of factorbench, the leanest peer and plain PyTorch. The last column has evaluations."""

    def mib(*records: Record) -> str:
        return f"{min(r['peak_mib'] for r in records):.0f}" if records else ""

    rows = []
    for cell, sides in cells.items():
        if own := sides.get("factorbench"):
            peers, plain = ([sides[s] for s in names if s in sides] for names in (PEER_SIDES, ["plain"]))
            evaluation = number(own["evaluate_seconds"]) if "evaluate_seconds" in own else ""
            rows.append([*cell[:2], label(cell), mib(own), mib(*peers), mib(*plain), evaluation])
    return rows


def page(results: Record) -> str:
    """Fill in results.md: seconds, compiled packages, memory, versions and failures."""
    failed = {
        (cell_of(f), side_of(f)): "none" if " has no " in f["error"] else "fails"
        for f in in_batches(results["failures"])
    }
    found = by_cell(results["records"])
    for cell, _ in failed:
        found.setdefault(cell, {})
    order = {name: place for place, name in enumerate(MODELS)}
    cells = dict(sorted(found.items(), key=lambda c: (c[0][0], -c[0][1], order.get(c[0][2], 99), -c[0][3])))
    segments = sorted({len(record["segments"]) for record in in_batches(results["records"])})
    return render(
        TEMPLATES / "results.md.j2",
        machine=results["machine"],
        segments="–".join(map(str, segments[:1] + segments[1:][-1:])),
        busy=f"{BUSY:.0%}",
        doubtful=doubtful(results["records"]),
        seconds=seconds_table(cells, failed),
        memory=memory_rows(cells),
        compiled=compiled_rows(results["records"], cells),
        versions=[
            (TITLES[side], ", ".join(f"{package} {version}" for package, version in results["versions"][side].items()))
            for side in (*VERDICT_SIDES, *COMPILED)
            if side in results["versions"]
        ],
        failures=failures(results["failures"]),
    )


def failures(failed: list[Record]) -> list[Record]:
    """Group failures by side, model and error, with the cells of each."""
    hits: dict[tuple[str, str, str], list[str]] = {}
    for failure in failed:
        key = (TITLES[failure["side"]], failure["model"], failure["error"])
        hits.setdefault(key, []).append(f"{failure['shape']} {failure['batch_size'] or ''}".rstrip())
    return [{"side": side, "model": model, "error": error, "cells": c} for (side, model, error), c in hits.items()]


def chart(results: Record, path: Path) -> None:
    """Draw one panel for each shape and batch size.

    A model measured with several dropout rates appears with the largest.
    """
    from pipelines.reporting import charts

    cells = by_cell(results["records"])
    colours = (charts.SKY, charts.BLUE, charts.GREEN, charts.PURPLE, charts.GREY, charts.RED)
    panels: dict[str, dict[str, dict[str, tuple[float, float, float]]]] = {}
    for shape, batch_size in sorted({cell[:2] for cell in cells}, key=lambda group: (group[0], -group[1])):
        panel = panels.setdefault(f"{shape}, batch {batch_size}", {})
        for model in MODELS:
            most = max(
                (cell for cell in cells if cell[:3] == (shape, batch_size, model)), key=lambda c: c[3], default=None
            )
            if most:
                name = f"{model}\ndropout {most[3]}" if most[3] else model
                sides = cells[most].items()
                panel[name] = {TITLES[s]: (r["min"], r["median"], r["max"]) for s, r in sides if s in VERDICT_SIDES}
    titles = dict(zip((TITLES[side] for side in VERDICT_SIDES), colours, strict=True))
    charts.save(charts.spread_chart(panels, titles, "seconds an epoch"), path, "Seconds an epoch of each package")


def write_report(results: Path) -> None:
    """Write results.md and results.svg beside results.json."""
    content = json.loads(results.read_text("utf-8"))
    write_text(results.with_suffix(".md"), page(content))
    if by_cell(content["records"]):
        chart(content, results.with_suffix(".svg"))


def write(name: str, machine: Record, records: list[Record], measured: Iterable[Record], **values: Any) -> None:
    """Write NAME.json, and NAME.md by its template. The page names the machine, and says how busy it was, if known."""
    (ROOT / f"{name}.json").write_text(json.dumps({"machine": machine, "records": records}, indent=1) + "\n", "utf-8")
    write_text(ROOT / f"{name}.md", page_of(name, machine, measured, **values))
    print(f"written: {name}.json, {name}.md")


def page_of(name: str, machine: Record, measured: Iterable[Record], **values: Any) -> str:
    """Fill in the template of a measurement."""
    shares = [result.get("cpu_of_others", 0) for result in measured]
    busy = {"share": f"{BUSY:.0%}", "during": sum(share > BUSY for share in shares), "of": len(shares)}
    return render(TEMPLATES / f"{name}.md.j2", machine=machine, busy=busy, **values)
