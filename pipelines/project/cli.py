"""What all stages share on the command line: their common options, and errors as one line."""

import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any

import typer

ParamsOption = Annotated[Path, typer.Option("--params", help="The params.yaml; data and results go beside it.")]
DatasetOption = Annotated[
    str, typer.Option(help="A data set's name; `python -m pipelines.download --list` shows them.")
]
ModelOption = Annotated[str, typer.Option(help="A model's name: that of its file in models/.")]


def run(command: Callable[..., Any]) -> None:
    """Run a stage as a program: exit 1 with one line on stderr for wrong input, a full disk or no network.

    FACTORBENCH_TRACEBACK=1 shows where the error was raised.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    try:
        app()
    except (ValueError, OSError, FloatingPointError) as error:
        if os.environ.get("FACTORBENCH_TRACEBACK"):
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)


def one_of(what: str, name: str, choices: Collection[str]) -> str:
    """`name`, if it is one of `choices`. Raises ValueError that lists them."""
    if name not in choices:
        raise ValueError(f"unknown {what} {name!r}; choose one of: {', '.join(sorted(choices))}")
    return name
