"""Train with xLearn by AdaGrad with its defaults, one row at a time."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("USER", "nobody")  # the package ends without it

import numpy as np
import xlearn

from sides.timing import EMBED_DIM, command_line, differences, print_record


def main() -> None:
    args = command_line()
    rows = np.load(args.data / "train.npz")
    table = np.column_stack([rows["labels"] > 0, rows["features"]]).astype(int)
    columns = range(table.shape[1] - 1)
    value = "%d:1" if args.model == "fm" else None
    style = " ".join(["%d", *(value or f"{column}:%d:1" for column in columns)])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.txt"
        np.savetxt(file, table, fmt=style)

        def fit(epochs: int) -> None:
            model = {"fm": xlearn.create_fm, "ffm": xlearn.create_ffm}[args.model]()
            model.setTrain(str(file))
            model.setQuiet()
            setting = {"task": "binary", "k": EMBED_DIM, "epoch": epochs, "nthread": args.threads}
            model.fit(setting, f"{file}.model")

        record = differences(fit, args)
    print_record(record, "xlearn", "numpy", algorithm="AdaGrad, row by row", threads=args.threads)


if __name__ == "__main__":
    main()
