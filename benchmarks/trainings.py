"""Time trainings of factorbench, each in a process of its own, and store the times.

Some trainings run at once if asked for. Each result is stored at once in .cache/NAME.jsonl, so an interrupted run
continues from there.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, TypeVar

from bench_peers import busy_since, is_doubtful, last_line, remark, seconds_of_others
from inputs import FOLDER, write_inputs
from report import ROOT, number
from rich.console import Console

TIMEOUT = 300  # seconds after which a training fails
TYPICAL_SECONDS = 8.0  # of a measurement with imports, to estimate the total time
Result = dict[str, Any]
Key = TypeVar("Key")


@dataclass(frozen=True)
class Training:
    """Describe one measurement: `at_once` equal trainings, each with `threads`."""

    model: str
    batch_size: int
    dropout: float = 0.0  # of the pair-wise products in ifm, inn, deepifm; other models have none
    threads: int = 2
    embed_dim: int = 256
    attention_dim: int = 256
    shape: str = "frappe"
    without: str = ""  # the trick of tricks.py that is turned off
    at_once: int = 1

    def __str__(self) -> str:
        dropout = f" dropout {self.dropout}" if self.dropout else ""
        without = f" without {self.without}" if self.without else ""
        processes = f"{self.at_once} × {self.threads} threads"
        return f"{self.shape} {self.batch_size} {self.model}{dropout} K {self.embed_dim} {processes}{without}"


def child(training: Training, segments: int, seconds: float) -> None:
    """Train on a part of the rows, and print the seconds of full epochs.

    Finds a part whose epoch takes about `seconds`, prints "ready" and waits for a line of input before it starts.
    Prints a list without the first epoch; each time is scaled to all rows.
    """
    from sides import factorbench as side

    from pipelines.training import process
    from pipelines.training.epochs import Epoch
    from pipelines.training.loop import train
    from pipelines.training.start import new_model

    signal.alarm(TIMEOUT)
    if training.without:
        from tricks import turn_off

        turn_off(training.without)
    process.prepare_process(training.threads)
    args = argparse.Namespace(**asdict(training), data=FOLDER / training.shape, segments=segments, seconds=seconds)
    args.set = []
    schema, rows = side.read_schema(args.data), side.load(args, "train")
    few = side.part(rows, 512)  # `train` evaluates these after each epoch; the epoch's seconds leave that out
    model = new_model(training.model, schema, side.arguments(args) | {"embed_dim": training.embed_dim}, seed=2019)
    size = side.rows_of_a_segment(model, rows, few, args)
    print("ready", flush=True)
    input()
    start = time.perf_counter()

    def enough(epoch: Epoch) -> bool:
        return epoch.epoch > segments and time.perf_counter() - start > segments * seconds

    epochs = train(model, side.part(rows, size), few, side.training_params(args, 1_000_000), enough)
    print(json.dumps([epoch.seconds * len(rows) / size for epoch in epochs[1:]]))


def measure(training: Training, segments: int, seconds: float) -> Result:
    """Return the seconds of each epoch, one list per process, or an error. All processes start at the same time."""
    others, start = seconds_of_others(), time.perf_counter()
    command = [sys.executable, "-m", "trainings", json.dumps(asdict(training)), str(segments), str(seconds)]
    threads = {"OMP_NUM_THREADS": str(training.threads), "MKL_NUM_THREADS": str(training.threads)}
    options = {"cwd": ROOT, "env": os.environ | threads, "text": True}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    processes = [subprocess.Popen(command, **options, **pipes) for _ in range(training.at_once)]
    if all(process.stdout.readline() for process in processes):
        for process in processes:
            print(file=process.stdin, flush=True)
    ends = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, ends, strict=True):
        if process.returncode:
            return {"error": last_line(errors) if process.returncode > 0 else f"no result in {TIMEOUT} s"}
    result: Result = {"seconds": [json.loads(last_line(output)) for output, _ in ends]}
    return result | busy_since(others, start)


def epoch_seconds(result: Result) -> float:
    """Return the first process's median seconds for an epoch."""
    return median(result["seconds"][0])


def measure_all(
    name: str, wanted: Iterable[Training], fresh: bool, segments: int, seconds: float
) -> dict[Training, Result]:
    """Return all wanted trainings' results, measuring those not stored yet under this name.

    The result leaves failures out.
    """
    wanted = list(wanted)
    for shape in {training.shape for training in wanted}:
        write_inputs(shape)

    def measure_one(training: Training, kept: dict[Training, Result]) -> Result:
        return measure(training, segments, seconds)

    return measure_missing(name, wanted, fresh, measure_one, lambda r: f"{number(epoch_seconds(r))} s an epoch")


def measure_missing(
    name: str,
    wanted: Sequence[Key],
    fresh: bool,
    measure: Callable[[Key, dict[Key, Result]], Result],
    figure_of: Callable[[Result], str],
    typical_seconds: float = TYPICAL_SECONDS,
) -> dict[Key, Result]:
    """Return all wanted results but failures, measuring those not stored yet under this name.

    Prints each figure and the time left. Measures again what failed or ran on a busy machine. `measure` gets what is
    wanted, a dataclass, and the results so far.
    """
    path, console = FOLDER / f"{name}.jsonl", Console()
    if fresh:
        path.unlink(missing_ok=True)
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    kind = type(wanted[0])
    kept = {kind(**record["training"]): record["result"] for record in map(json.loads, lines)}
    todo = [training for training in wanted if training not in kept or is_doubtful(kept[training])]
    start = time.perf_counter()
    console.print(f"{len(wanted)} measurements, {len(todo)} to do: about {len(todo) * typical_seconds / 60:.0f} min")
    for done, training in enumerate(todo):
        kept[training] = result = measure(training, kept)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"training": asdict(training), "result": result}) + "\n")
        left = (time.perf_counter() - start) / (done + 1) * (len(todo) - done - 1)
        figure = result.get("error") or figure_of(result)
        console.print(
            f"{done + 1}/{len(todo)}  {training}: {figure}{remark(result)}  ({left / 60:.0f} min left)", highlight=False
        )
    return {training: kept[training] for training in wanted if "error" not in kept[training]}


if __name__ == "__main__":
    child(Training(**json.loads(sys.argv[1])), int(sys.argv[2]), float(sys.argv[3]))
