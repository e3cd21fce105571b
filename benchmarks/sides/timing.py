"""Share the sides' command line, timing of segments and printed record.

Needs only the standard library: each side runs in an environment of its own.
"""

import argparse
import importlib.metadata
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MIN_BATCHES = 5  # of a segment, unless these take more than twice the time asked for
EMBED_DIM = 256
LEARNING_RATE = 0.01
MOST_SECONDS = 10.0  # after which `differences` starts no further fit
HIDDEN_DIMS = {"deepfm": (100,), "nfm": (256,), "deepifm": (100,), "inn": (5,)}


class MeasuredError(Exception):
    """Signal that all segments are timed, to leave the training loop."""


def command_line() -> argparse.Namespace:
    """Parse a side's arguments: the model, the rows, and how long to measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder that inputs.py wrote")
    parser.add_argument("--attention-dim", type=int, default=256)
    parser.add_argument(
        "--dropout", type=float, default=0.0, help="dropout rate of the pair-wise products in ifm, inn, deepifm"
    )
    parser.add_argument("--embed-dim", type=int, default=EMBED_DIM)
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--segments", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="least seconds of a segment and of the warm-up")
    parser.add_argument("--set", action="append", default=[], metavar="training.KEY=VALUE", help="factorbench only")
    parser.add_argument("--settings", type=Path, help="search these settings instead, by `sides.loop`")
    parser.add_argument("--epochs", type=int, help="of each trial of a search")
    parser.add_argument("--processes", type=int, help="trials at once in a search")
    return parser.parse_args()


def read_schema(folder: Path) -> dict[str, Any]:
    """Read the fields' names and sizes, and the number of rows of each split."""
    return json.loads((folder / "schema.json").read_text("utf-8"))


def resident_mib() -> float:
    """Return the memory that this process holds now, in MiB. Without /proc, returns its peak so far."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return peak_mib()
    return int(statm.read_text("ascii").split()[1]) * resource.getpagesize() / 2**20


def peak_mib() -> float:
    """Return the most memory that this process has held, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


class TimedLoader:
    """Pass on a data loader's batches, and time segments of them.

    A segment starts when a batch is requested and ends when a later one is, so it includes loading and training of the
    batches between. No segment crosses the end of an epoch. `seconds` are scaled to an epoch of `num_rows` rows, and
    leave out the first segment, the warm-up. Iteration raises `MeasuredError` when all segments are timed.
    """

    def __init__(self, loader: Any, args: argparse.Namespace, num_rows: int, loader_rows: int | None = None) -> None:
        self.loader = loader
        self.num_rows, self.loader_rows = num_rows, loader_rows or num_rows
        self.batch_size, self.num_segments, self.least_seconds = args.batch_size, args.segments, args.seconds
        self.seconds: list[float] = []
        self.batches: list[int] = []
        self.warm = False
        self.resident_before: float | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        if self.resident_before is None:
            self.resident_before = resident_mib()
        left, batches, rows, start = self.loader_rows, 0, 0, time.perf_counter()
        for batch in self.loader:
            rows += min(self.batch_size, left)
            left -= min(self.batch_size, left)
            batches += 1
            yield batch
            seconds = time.perf_counter() - start
            long_enough = seconds >= self.least_seconds and (
                batches >= MIN_BATCHES or seconds >= 2 * self.least_seconds
            )
            if long_enough or (left == 0 and batches >= MIN_BATCHES):
                self.end_segment(seconds, batches, rows)
                batches, rows, start = 0, 0, time.perf_counter()

    def end_segment(self, seconds: float, batches: int, rows: int) -> None:
        if self.warm:
            self.seconds.append(seconds * self.num_rows / rows)
            self.batches.append(batches)
        self.warm = True
        if len(self.seconds) == self.num_segments:
            self.peak = peak_mib()
            raise MeasuredError

    def record(self) -> dict[str, Any]:
        """Return each segment's seconds for an epoch and batches, and the process's MiB.

        The memory is what it held before the first batch, and its peak.
        """
        return {
            "seconds": self.seconds,
            "batches": self.batches,
            "resident_before_mib": self.resident_before,
            "peak_mib": self.peak,
        }


def sparse_rows(folder: Path, schema: dict[str, Any]) -> tuple[Any, Any]:
    """Read the training rows as a sparse matrix, and labels 0 or 1."""
    import numpy as np
    from scipy import sparse

    rows = np.load(folder / "train.npz")
    features = rows["features"].astype(np.int32)
    starts = np.arange(0, features.size + 1, features.shape[1], dtype=np.int32)
    ones = np.ones(features.size, np.float32)
    shape = (len(features), schema["num_features"])
    return sparse.csr_matrix((ones, features.ravel(), starts), shape), (rows["labels"] > 0).astype(np.int32)


def differences(fit: Callable[[int], Any], args: argparse.Namespace, scale: float = 1.0) -> dict[str, Any]:
    """Return the differences between fits of one and two epochs, times `scale`.

    A difference leaves out what a fit does once: reading and starting values. A fit before them leaves out parsing.
    """
    before, seconds = resident_mib(), []
    fit(1)  # a package may write its input as a binary file now, and read that later
    begin = time.perf_counter()
    while len(seconds) < args.segments and (not seconds or time.perf_counter() - begin < MOST_SECONDS):
        times = []
        for epochs in (1, 2):
            start = time.perf_counter()
            fit(epochs)
            times.append(time.perf_counter() - start)
        seconds.append((times[1] - times[0]) * scale)
    return {"seconds": seconds, "resident_before_mib": before, "peak_mib": peak_mib()}


def print_record(record: dict[str, Any], *packages: str, **notes: Any) -> None:
    """Print a side's record and its packages' versions as its last line."""
    versions = {name: importlib.metadata.version(name) for name in packages}
    print(json.dumps({**record, **notes, "versions": versions}), flush=True)
