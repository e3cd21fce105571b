"""Train with Vowpal Wabbit by --lrqfa, its form of FFM.

It takes one row at a time from its cache file, with its adaptive rate. It trains on a part of the rows, and the
seconds are scaled to all.
"""

import tempfile
from pathlib import Path

import numpy as np
from vowpalwabbit import Workspace

from sides.timing import EMBED_DIM, command_line, differences, print_record

ROWS = 20_000
NAMES = "abcdefghijklmnopqrstuvwxyz"  # a namespace has one letter


def main() -> None:
    args = command_line()
    rows = np.load(args.data / "train.npz")
    features, labels = rows["features"][:ROWS], rows["labels"][:ROWS].astype(int)
    names = NAMES[: features.shape[1]]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.txt"
        lines = (f"{y} " + " ".join(f"|{n} {v}" for n, v in zip(names, x, strict=True))
                 for x, y in zip(features, labels, strict=True))  # fmt: skip
        file.write_text("\n".join(lines) + "\n", "ascii")
        common = f"-d {file} --cache_file {file}.cache --holdout_off --loss_function logistic -b 24 --quiet"

        def fit(epochs: int) -> None:
            Workspace(f"{common} --lrqfa {names}{EMBED_DIM} --passes {epochs}").finish()

        record = differences(fit, args, len(rows["labels"]) / len(labels))
    print_record(record, "vowpalwabbit", "numpy", algorithm="--lrqfa, row by row", threads=1)


if __name__ == "__main__":
    main()
