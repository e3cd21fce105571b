"""Look at your own files, and write a proposal for datasets/NAME.yaml."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.project.cli import run
from pipelines.project.records import parse_yaml


def main(
    files: Annotated[list[Path], typer.Argument(help="CSV, TSV, Parquet or JSON lines, also .gz; RecBole's .inter.")],
    label: Annotated[str, typer.Option(help="The label, such as click or 'rating >= 4'. Default: guessed.")] = "",
) -> None:
    """Propose a data set for your files.

    Prints the YAML for datasets/NAME.yaml; what was found goes to standard error.
    """
    from pipelines.data.own import OwnDataset
    from pipelines.data.proposal import findings, propose

    for file in files:
        if not file.is_file():
            raise ValueError(f"no file {file}")
    name = files[0].name.partition(".")[0]
    proposal, table = propose(files, name, label, Path())
    text = proposal.yaml()
    dataset = OwnDataset(name=name, folder=Path(), **parse_yaml(text))
    print(*findings(table, dataset, seed=0), sep="\n", file=sys.stderr)
    print(text, end="")


if __name__ == "__main__":
    run(main)
