"""Compare two trainings at once, one thread each, with one of two threads.

The result decides the default of tune.cpus_per_trial. Writes threads.json and threads.md beside this file. An
interrupted run continues where it stopped.
"""

from dataclasses import asdict, replace
from statistics import geometric_mean, median
from typing import Annotated, Any

import typer
from bench_peers import machine
from report import write
from trainings import Result, Training, measure_all

SIZES = ((32, 16, 1024), (256, 256, 128), (256, 256, 4096))  # K, K_a, batch size
MODELS = (("fm", 0.0), ("ifm", 0.1), ("deepfm", 0.0))  # with dropout
CELLS = [
    Training(model, batch_size, dropout, embed_dim=embed_dim, attention_dim=attention_dim)
    for embed_dim, attention_dim, batch_size in SIZES
    for model, dropout in MODELS
]
WAYS = ((1, 1), (1, 2), (2, 1))  # trainings at once, threads of each


def of_way(cell: Training, way: tuple[int, int]) -> Training:
    return replace(cell, at_once=way[0], threads=way[1])


def epochs_an_hour(result: Result) -> float:
    """Add up the epochs an hour of all processes of a measurement."""
    return sum(3600 / median(seconds) for seconds in result["seconds"])


def values(measured: dict[Training, Result]) -> dict[str, Any]:
    """Build the table's rows, and the gain of two trainings at once.

    The gain is their epochs divided by those of one training with two threads.
    """
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
    gain = {"mean": geometric_mean(ratios), "least": min(ratios), "most": max(ratios)} if ratios else None
    return {"rows": lines, "gain": gain}


def main(
    fresh: Annotated[bool, typer.Option("--fresh", help="measure again what is measured already")] = False,
    segments: Annotated[int, typer.Option(help="least number of timed epochs for each measurement")] = 3,
    seconds: Annotated[float, typer.Option(help="least seconds of a timed epoch, on a part of the rows")] = 0.7,
) -> None:
    """Measure what is missing, and write the table."""
    wanted = [of_way(cell, way) for cell in CELLS for way in WAYS]
    measured = measure_all("threads", wanted, fresh, segments, seconds)
    records = [asdict(key) | {"epochs_an_hour": epochs_an_hour(result)} | result for key, result in measured.items()]
    write("threads", machine() | {"threads": [1, 2]}, records, measured.values(), **values(measured))


if __name__ == "__main__":
    typer.run(main)
