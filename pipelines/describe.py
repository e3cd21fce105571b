"""Look at your own files, and write a proposal for datasets/NAME.yaml."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.project.cli import run
from pipelines.project.records import check, parse_yaml

FILES_HELP = (
    "CSV, TSV, Parquet, JSON, libfm or libffm, also .gz and .zst; RecBole's .inter; side tables; FuxiCTR's YAML."
)


def main(
    files: Annotated[list[Path] | None, typer.Argument(help=FILES_HELP)] = None,
    label: Annotated[
        str, typer.Option(help="The label, such as click or 'rating >= 4', or 'all positive'. Default: guessed.")
    ] = "",
    columns: Annotated[str, typer.Option(help="Names for a file without a header: user,item,rating,time.")] = "",
    dataset_id: Annotated[str, typer.Option(help="Which data set of FuxiCTR's YAML.")] = "",
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of datasets/NAME.yaml.")] = False,
) -> None:
    """Propose a data set for your files.

    Prints the YAML for datasets/NAME.yaml; what was found goes to standard error.
    """
    from pipelines.data.findings import findings
    from pipelines.data.fuxictr import translate
    from pipelines.data.guessing import propose
    from pipelines.data.own import OwnDataset
    from pipelines.data.sniffing import beside, name_of

    if schema:
        from pipelines.data.catalog import json_schema

        print(json.dumps(json_schema(), indent=2))
        return
    if not files:
        raise ValueError("name a file: factorbench describe clicks.csv > datasets/clicks.yaml")
    for file in files:
        if not file.is_file():
            raise ValueError(f"no file {file}")
    if files[0].suffix in (".yaml", ".yml"):
        proposal, table = translate(files[0], dataset_id, Path())
    else:
        names = [name.strip() for name in columns.split(",")] if columns else []
        proposal, table = propose(files, name_of(files), label, Path(), names)
        if others := beside(files):
            proposal.notes.append(f"beside it: {', '.join(map(str, others))}; describe them together with {files[0]}")
    text = proposal.yaml()
    content = {**parse_yaml(text), "name": proposal.name, "folder": Path()}
    dataset = check(OwnDataset, content, "the proposal can't be read: ")
    print(*proposal.notes, *findings(table, dataset, seed=0), sep="\n", file=sys.stderr)
    print(text, end="")


if __name__ == "__main__":
    run(main)
