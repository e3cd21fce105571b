"""Train with myFM by Gibbs sampling with its defaults.

An epoch is an iteration.
"""

from myfm import MyFMGibbsClassifier

from sides.timing import EMBED_DIM, command_line, differences, print_record, read_schema, sparse_rows


def main() -> None:
    args = command_line()
    rows, clicked = sparse_rows(args.data, read_schema(args.data))

    def fit(epochs: int) -> None:
        MyFMGibbsClassifier(EMBED_DIM).fit(rows, clicked, n_iter=epochs, n_kept_samples=1)

    print_record(differences(fit, args), "myfm", "numpy", algorithm="Gibbs sampling", threads=1)


if __name__ == "__main__":
    main()
