"""Define the options that all commands share, and print errors as one line."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

ParamsOption = Annotated[Path, typer.Option("--params", help="Path of params.yaml. Data and results go beside it.")]
DatasetOption = Annotated[
    str, typer.Option(help="Name of a data set. `python -m pipelines.download --list` shows all names.")
]
ModelOption = Annotated[str, typer.Option(help="Name of a model: the name of its file in models/.")]

# A command that an error proposes, and that has the option --params.
WITH_PARAMS = re.compile(r"(run|then) `?python -m pipelines\.(?!behaviour|describe|docs|fit|main|ray_cluster)\w+")


def run(command: Callable[..., Any]) -> None:
    """Run a command as a program."""
    run_any({"": command})


def run_any(commands: Mapping[str, Callable[..., Any]]) -> None:
    """Run one of several commands as a program, by name; one without a name is the program.

    Prints wrong input, I/O and network errors as one line, and exits with 1. FACTORBENCH_TRACEBACK=1 shows the
    traceback instead.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help="" not in commands)
    for name, command in commands.items():
        app.command(name or None)(command)
    try:
        app()
    except (ValueError, OSError, FloatingPointError) as error:
        if os.environ.get("FACTORBENCH_TRACEBACK"):
            raise
        print(f"error: {with_params(' '.join(str(error).split()), sys.argv)}", file=sys.stderr)
        sys.exit(1)


def with_params(text: str, arguments: Sequence[str]) -> str:
    """Add the --params of a command's arguments to the commands that a text proposes."""
    given = [word.removeprefix("--params=") for word in arguments if word.startswith("--params=")]
    given += [path for option, path in pairwise(arguments) if option == "--params"]
    if not given:
        return text
    return WITH_PARAMS.sub(lambda match: f"{match[0]} --params {shlex.quote(given[-1])}", text)


def note(text: str) -> None:
    """Print a note on stderr."""
    print(f"note: {text}", file=sys.stderr)


def one_of(what: str, name: str, choices: Collection[str]) -> str:
    """Return `name` if it is one of `choices`. Raises ValueError that lists the choices."""
    if name not in choices:
        raise ValueError(f"unknown {what} {name!r}; choose one of: {', '.join(sorted(choices))}")
    return name
