"""Train with pylibffm, which is LIBFFM in C++.

It takes one row at a time from its binary file, by AdaGrad with its defaults.
"""

import tempfile

import numpy as np
import pylibffm

from sides.timing import EMBED_DIM, command_line, differences, print_record, read_schema, sparse_rows


def main() -> None:
    args = command_line()
    schema = read_schema(args.data)
    rows, clicked = sparse_rows(args.data, schema)
    fields = np.repeat(np.arange(len(schema["fields"])), schema["field_dims"])
    with tempfile.TemporaryDirectory() as folder:
        path, _ = pylibffm.make_bin(folder, rows, clicked, fields)
        record = differences(lambda epochs: pylibffm.train_with_bin(path, {"k": EMBED_DIM, "nr_iters": epochs}), args)
    print_record(record, "pylibffm", "numpy", algorithm="AdaGrad, row by row", threads=args.threads)


if __name__ == "__main__":
    main()
