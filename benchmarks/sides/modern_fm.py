"""Train with modern-fm, which is written in Rust.

Its defaults are AdaGrad and learning rate 0.05; the batches of 256 rows are those of its documentation.
"""

import numpy as np
from modern_fm import FFMClassifier, FMClassifier

from sides.timing import EMBED_DIM, command_line, differences, print_record, read_schema, sparse_rows

BATCH_SIZE = 256


def main() -> None:
    args = command_line()
    schema = read_schema(args.data)
    rows, clicked = sparse_rows(args.data, schema)
    fields = np.repeat(np.arange(len(schema["fields"])), schema["field_dims"])
    kind = {"fm": FMClassifier, "ffm": FFMClassifier}[args.model]
    more = {"field_ids": fields} if args.model == "ffm" else {}

    def fit(epochs: int) -> None:
        model = kind(n_factors=EMBED_DIM, max_iter=epochs, batch_size=BATCH_SIZE, n_jobs=args.threads, random_state=1)
        model.fit(rows, clicked, **more)

    print_record(differences(fit, args), "modern-fm", "numpy", algorithm="AdaGrad, batch 256", threads=args.threads)


if __name__ == "__main__":
    main()
