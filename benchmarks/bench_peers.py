"""Measure factorbench and its peers, and write results.json, results.md and results.svg.

Each measurement is a process of its own, in the environment of its side. For each cell (shape, batch size, model,
dropout) the sides run one after the other. Each result is stored at once in .cache/measurements.jsonl, so an
interrupted run continues from there.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import psutil
import typer
from inputs import FOLDER, write_inputs
from report import BUSY, COMPILED, ROOT, VERDICT_SIDES, write_report
from rich.console import Console

PEERS = ("fuxictr", "deepctr", "torchfm", "recbole")
OWN = ("plain", "factorbench")
COMMON_MODELS = ("fm", "deepfm", "nfm", "afm", "ffm")  # the peers have these too
OWN_MODELS = ("ifm", "inn", "deepifm")
DROPOUTS = (0.1, 0.0)  # of OWN_MODELS: the default of their paper, and none
SHAPES = {"frappe": (4096, 128), "movielens": (4096,)}  # batch sizes
ATTENTION_DIM = {"frappe": 256, "movielens": 16}
OWN_BATCHES = 0  # the batch size of a compiled package, which has its own
THREADS = 2
TYPICAL_SECONDS = 10.0  # of a measurement with imports, to estimate the total time
MEASUREMENTS = FOLDER / "measurements.jsonl"
RESULTS = ROOT / "results.json"


@dataclass(frozen=True)
class Measurement:
    """Name one measurement: a side on a cell."""

    shape: str
    batch_size: int
    model: str
    dropout: float
    side: str
    setting: str = ""  # training.KEY=VALUE …, of factorbench only


def plan(
    shapes: Iterable[str], batches: Iterable[int], models: Iterable[str], sides: Iterable[str], setting: str
) -> list[Measurement]:
    """List the measurements of a selection, cell by cell; an empty part selects all."""
    chosen: list[Measurement] = []
    for shape in shapes or SHAPES:
        chosen += [
            Measurement(shape, OWN_BATCHES, model, 0.0, side)
            for side, there in COMPILED.items()
            for model in there
            if not batches and (not models or model in models) and (not sides or side in sides)
        ]
        for batch_size in [size for size in SHAPES[shape] if not batches or size in batches]:
            for model in models or (*COMMON_MODELS, *OWN_MODELS):
                for dropout in DROPOUTS if model in OWN_MODELS else (0.0,):
                    there = VERDICT_SIDES if model in COMMON_MODELS else OWN
                    chosen += [
                        Measurement(shape, batch_size, model, dropout, side, setting if side == "factorbench" else "")
                        for side in there
                        if not sides or side in sides
                    ]
    return chosen


def python_of(side: str) -> str:
    """Return the interpreter of a side's environment; for `OWN`, the project's."""
    return sys.executable if side in OWN else str(ROOT / ".venv" / side / "bin" / "python")


def measure(wanted: Measurement, timeout: float, segments: int, seconds: float) -> dict[str, Any]:
    """Return the record of a side's process, or `{"error": its last line}`."""
    options = {
        "model": wanted.model,
        "batch-size": wanted.batch_size,
        "data": FOLDER / wanted.shape,
        "attention-dim": ATTENTION_DIM[wanted.shape],
        "dropout": wanted.dropout,
        "threads": THREADS,
        "segments": segments,
        "seconds": seconds,
    }
    return run_side(wanted.side, options, timeout, [f"--set={pair}" for pair in wanted.setting.split()])


def run_side(side: str, options: dict[str, Any], timeout: float, more: Iterable[str] = ()) -> dict[str, Any]:
    """Run a side's script with `options`, of which one is `threads`.

    Returns what it prints, or `{"error": its last line}`.
    """
    if side not in OWN and not (ROOT / ".venv" / side / ".done").exists():
        log = ROOT / ".venv" / f"{side}.log"
        return {"error": f"not installed: {last_line(log.read_text('utf-8') if log.exists() else 'no environment')}"}
    command = [python_of(side), "-m", f"sides.{side}"]
    command += [f"--{name}={value}" for name, value in options.items()]
    command += more
    threads = str(options["threads"])
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    others, start = seconds_of_others(), time.perf_counter()
    try:  # run in the cache folder: some packages write logs into the current folder
        done = subprocess.run(command, cwd=FOLDER, env=environment, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return {"error": f"no result in {timeout:.0f} s"}
    if done.returncode != 0 or not done.stdout.strip():
        return {"error": last_line(done.stderr or done.stdout)}
    return json.loads(last_line(done.stdout)) | busy_since(others, start)


def busy_since(others: float, start: float) -> dict[str, float]:
    """Return the share of the CPU that other processes took since `start`."""
    busy = seconds_of_others() - others
    return {"cpu_of_others": max(0.0, busy / (time.perf_counter() - start) / (os.cpu_count() or 1))}


def remark(result: dict[str, Any]) -> str:
    """Return the note that follows a figure measured on a busy machine."""
    share = result.get("cpu_of_others", 0)
    return f", [yellow]other processes took {share:.0%} of the CPU[/]" if share > BUSY else ""


def seconds_of_others() -> float:
    """Return the CPU seconds of all but the measured processes since the machine started."""
    times, ours = psutil.cpu_times(), resource.getrusage(resource.RUSAGE_CHILDREN)
    idle = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "guest", 0.0)  # user has guest's too
    return sum(times) - idle - ours.ru_utime - ours.ru_stime


def last_line(text: str) -> str:
    """Return the last line that is not empty, without paths of this machine."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].replace(f"{ROOT.parent}/", "") if lines else "no output"


def load_measurements() -> dict[Measurement, dict[str, Any]]:
    """Load what is measured already, with all rounds of a measurement merged.

    Of two records of the same round, the later one counts.
    """
    known: dict[Measurement, dict[str, Any]] = {}
    lines = MEASUREMENTS.read_text("utf-8").splitlines() if MEASUREMENTS.exists() else []
    for record in map(json.loads, lines):
        key, result = Measurement(**record["measurement"]), record["result"]
        before = known.get(key, {})
        later = record.get("round", 1) > 1 and "seconds" in before and "seconds" in result
        known[key] = together(before, result) if later else result
    return known


def together(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Merge two rounds of a measurement. Keeps all segments and evaluations, and the larger of other figures."""
    lists = {name: before[name] + after[name] for name in ("seconds", "batches", "evaluations") if name in after}
    larger = {
        name: max(before[name], after[name]) for name in after if name.endswith("_mib") or name == "cpu_of_others"
    }
    return {**after, **larger, **lists, "rounds": before.get("rounds", 1) + 1}


def is_doubtful(result: dict[str, Any]) -> bool:
    """Return whether a measurement failed, or other processes took much of the CPU."""
    return "error" in result or result.get("cpu_of_others", 0) > BUSY


def store(wanted: Measurement, result: dict[str, Any], number: int) -> None:
    with MEASUREMENTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"measurement": asdict(wanted), "result": result, "round": number}) + "\n")


def machine() -> dict[str, Any]:
    """Describe the machine of the measurements; memory is in GiB."""
    cpu, memory = platform.processor() or platform.machine(), None
    if Path("/proc/cpuinfo").exists():
        names = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
                 if line.startswith("model name")]  # fmt: skip
        cpu = names[0] if names else cpu
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": memory and round(memory, 1),
        "os": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "threads": THREADS,
    }


def collect(measured: dict[Measurement, dict[str, Any]]) -> dict[str, Any]:
    """Build results.json: the machine, each side's versions, one record per measurement, and failures."""
    versions: dict[str, dict[str, str]] = {}
    records, failures = [], []
    for wanted, result in measured.items():
        if "error" in result:
            failures.append({**asdict(wanted), "error": result["error"]})
            continue
        versions[wanted.side] = result["versions"]
        seconds = result["seconds"]
        figures = {"median": median(seconds), "min": min(seconds), "max": max(seconds), "segments": seconds}
        rest = {key: value for key, value in result.items() if key not in ("seconds", "versions")}
        if "evaluations" in rest:
            rest["evaluate_seconds"] = median(rest.pop("evaluations"))
        records.append({**asdict(wanted), **figures, **rest})
    return {"machine": machine(), "versions": versions, "records": records, "failures": failures}


def main(
    shape: Annotated[list[str] | None, typer.Option(help="frappe or movielens; repeatable")] = None,
    batch_size: Annotated[list[int] | None, typer.Option(help="4096 or 128; repeatable")] = None,
    model: Annotated[list[str] | None, typer.Option(help="model to measure; repeatable")] = None,
    side: Annotated[list[str] | None, typer.Option(help="side to measure; repeatable")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="measure again what is measured already")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="measure again what failed or ran on a busy machine")] = False,
    rounds: Annotated[int, typer.Option(help="how often to measure each; figures merge all rounds")] = 1,
    report_only: Annotated[bool, typer.Option("--report-only", help="only write page and chart again")] = False,
    plan_only: Annotated[bool, typer.Option("--plan-only", help="only list what would be measured")] = False,
    segments: Annotated[int, typer.Option(help="timed segments of each measurement")] = 3,
    seconds: Annotated[float, typer.Option(help="least seconds of a segment")] = 1.0,
    timeout: Annotated[float, typer.Option(help="seconds after which a measurement fails")] = 300,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="training.KEY=VALUE, for factorbench only; repeatable")
    ] = None,
) -> None:
    """Measure what is not measured yet, one process at a time, and write the results."""
    console = Console()
    if not report_only:
        wanted = plan(shape or (), batch_size or (), model or (), side or (), " ".join(setting or []))
        measured = {} if fresh else load_measurements()
        done = {key: result.get("rounds", 1) for key, result in measured.items() if not (retry and is_doubtful(result))}
        todo = [(m, number) for number in range(1, rounds + 1) for m in wanted if done.get(m, 0) < number]
        minutes = len(todo) * TYPICAL_SECONDS / 60
        console.print(f"{len(wanted)} measurements, {len(todo)} to do: about {minutes:.0f} min")
        if plan_only:
            for measurement, _ in todo:
                console.print(*asdict(measurement).values())
            return
        run(console, todo, timeout, segments, seconds)
        RESULTS.write_text(json.dumps(collect(load_measurements()), indent=1) + "\n", encoding="utf-8")
    write_report(RESULTS)
    console.print(f"written: {', '.join(RESULTS.with_suffix(suffix).name for suffix in ('.json', '.md', '.svg'))}")


def run(console: Console, todo: list[tuple[Measurement, int]], timeout: float, segments: int, seconds: float) -> None:
    """Measure one after the other, printing each figure and the time left."""
    for name in dict.fromkeys(measurement.shape for measurement, _ in todo):
        write_inputs(name)
    start = time.perf_counter()
    for done, (measurement, number) in enumerate(todo):
        result = measure(measurement, timeout, segments, seconds)
        store(measurement, result, number)
        left = (time.perf_counter() - start) / (done + 1) * (len(todo) - done - 1)
        m = measurement
        figure = result.get("error") or f"{median(result['seconds']):.2f} s an epoch"
        dropout = f" dropout {m.dropout}" if m.dropout else ""
        cell = f"{m.shape} {m.batch_size} {m.model}{dropout} {m.side} {m.setting}".rstrip()
        console.print(
            f"{done + 1}/{len(todo)}  {cell}: {figure}{remark(result)}  ({left / 60:.0f} min left)", highlight=False
        )


if __name__ == "__main__":
    typer.run(main)
