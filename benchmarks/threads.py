"""Two trainings at once with a thread each, or one with two threads? That decides the default of tune.cpus_per_trial.

Writes threads.json and threads.md beside this file. An interrupted run goes on where it stopped.
"""

from dataclasses import asdict, replace
from statistics import geometric_mean, median
from typing import Annotated

import typer
from bench_peers import machine
from report import table
from trainings import Result, Training, measure_all, write

SIZES = ((32, 16, 1024), (256, 256, 128), (256, 256, 4096))  # K, K_a, batch size
MODELS = (("fm", 0.0), ("ifm", 0.1), ("deepfm", 0.0))  # with dropout
CELLS = [
    Training(model, batch_size, dropout, embed_dim=embed_dim, attention_dim=attention_dim)
    for embed_dim, attention_dim, batch_size in SIZES
    for model, dropout in MODELS
]
WAYS = ((1, 1), (1, 2), (2, 1))  # trainings at once, threads of each

PAGE = """\
Epochs of Frappe an hour, of all trainings together: one training with one thread, one with two, and two at once with
one thread each, on two cores. From the median epoch of each training, on a part of the rows, scaled to all; the two
are processes that start together."""


def of_way(cell: Training, way: tuple[int, int]) -> Training:
    return replace(cell, at_once=way[0], threads=way[1])


def epochs_an_hour(result: Result) -> float:
    """Of all its processes together."""
    return sum(3600 / median(seconds) for seconds in result["seconds"])


def rows(measured: dict[Training, Result]) -> tuple[list[list[str]], list[float]]:
    """The rows of the table, and two at once ÷ one with two threads, of each."""
    lines, ratios = [], []
    for cell in CELLS:
        found = [measured.get(of_way(cell, way)) for way in WAYS]
        if not all(found):
            continue
        alone, two_threads, two_at_once = (epochs_an_hour(result) for result in found if result)
        ratios.append(two_at_once / two_threads)
        model = f"{cell.model}, dropout {cell.dropout}" if cell.dropout else cell.model
        figures = [f"{rate:,.0f}" for rate in (alone, two_threads, two_at_once)]
        sizes = [str(cell.embed_dim), str(cell.batch_size)]
        lines.append([model, *sizes, *figures, f"{two_threads / alone:.2f}×", f"{ratios[-1]:.2f}×"])
    return lines, ratios


def main(
    fresh: Annotated[bool, typer.Option("--fresh", help="measure again what is measured already")] = False,
    segments: Annotated[int, typer.Option(help="timed epochs a measurement, at least")] = 3,
    seconds: Annotated[float, typer.Option(help="of such an epoch, on a part of the rows")] = 0.7,
) -> None:
    """Measure what is not measured yet, and write the table."""
    wanted = [of_way(cell, way) for cell in CELLS for way in WAYS]
    measured = measure_all("threads", wanted, fresh, segments, seconds)
    lines, ratios = rows(measured)
    header = ["model", "K", "batch", "1 thread", "2 threads", "2 at once", "2 threads ÷ 1", "2 at once ÷ 2 threads"]
    parts = ["# Threads or trainings?", "Made by `make threads`; the figures are in `threads.json`.", PAGE]
    parts += [table(header, lines)]
    if ratios:
        parts += [
            f"Two trainings at once get {geometric_mean(ratios):.2f} times as far as one with two threads (geometric "
            f"mean; {min(ratios):.2f} to {max(ratios):.2f})."
        ]
    records = [asdict(key) | {"epochs_an_hour": epochs_an_hour(result)} | result for key, result in measured.items()]
    write("threads", machine() | {"threads": [1, 2]}, records, parts, measured)


if __name__ == "__main__":
    typer.run(main)
