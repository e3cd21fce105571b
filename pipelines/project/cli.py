"""Define the options that all commands share, and print errors as one line."""

import atexit
import contextlib
import difflib
import functools
import gc
import io
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.project import code

ParamsOption = Annotated[Path, typer.Option("--params", help="Path of params.yaml. Data and results go beside it.")]
DatasetOption = Annotated[
    str, typer.Option(help="Name of a data set. `python -m pipelines.download --list` shows all names.")
]
OF_INPUT_OR_MACHINE = (ValueError, OSError, FloatingPointError, MemoryError, RuntimeError)
OUT_OF_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory")  # in torch's RuntimeErrors
ModelOption = Annotated[str, typer.Option(help="Name of a model: the name of its file in models/.")]

# A command that an error proposes, and that has the option --params.
WITH_PARAMS = re.compile(
    r"(run|then) `?python -m pipelines\.(?!audit|behaviour|describe|docs|export|fit|main|predict|ray_cluster)\w+"
)


def run(command: Callable[..., Any]) -> None:
    """Run a command as a program."""
    run_any({"": command})


def run_any(commands: Mapping[str, Callable[..., Any]]) -> None:
    """Run one of several commands as a program, by name; one without a name is the program.

    Prints wrong input, I/O and network errors as one line, and exits with 1; also where code was edited while the
    command ran. FACTORBENCH_TRACEBACK=1 shows the traceback instead.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without – or ± shows a question mark
    gc.set_threshold(1_000_000)  # torch and Ray import half a million objects that stay: to look at them takes 0.5 s
    atexit.register(gc.freeze)  # nor at the end, where Python would look at all of them again, 0.7 s
    code.at_start()
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help="" not in commands)
    for name, command in commands.items():
        app.command(name or None)(checked(command))
    try:
        app()
    except Exception as error:
        line = describe(error)
        if line is None or os.environ.get("FACTORBENCH_TRACEBACK"):
            raise
        print(f"error: {with_params(' '.join(line.split()), sys.argv)}", file=sys.stderr)
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


@contextlib.contextmanager
def phases(title: str) -> Iterator[Callable[[str], None]]:
    """Show which phase of long work runs; yields a function that begins one.

    Without a terminal, each phase that begins after ten seconds is a line on stderr.
    """
    from rich.console import Console  # takes time to import

    console, start = Console(stderr=True), time.monotonic()
    with console.status(title) as status:

        def begin(phase: str) -> None:
            seconds = time.monotonic() - start
            status.update(f"{title}: {phase} (after {seconds:.0f} s)" if seconds > 1 else f"{title}: {phase}")
            if not console.is_terminal and seconds > 10:
                print(f"{title}: {phase} after {seconds:.0f} s", file=sys.stderr, flush=True)

        yield begin


def checked(command: Callable[..., Any]) -> Callable[..., Any]:
    """Check the code after a command."""

    @functools.wraps(command)
    def run_and_check(*arguments: Any, **options: Any) -> None:
        command(*arguments, **options)
        code.check()

    return run_and_check


def describe(error: Exception) -> str | None:
    """Describe an error of input or machine in a line; None for another error."""
    text = str(error)
    if not isinstance(error, OF_INPUT_OR_MACHINE):
        return None
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and OUT_OF_MEMORY.search(text)):
        wanted = re.search(r"allocate ([\d.]+ \w+)", text)
        return f"out of memory{f' for {wanted[1]}' if wanted else ''}: lower training.batch_size or the model's sizes"
    if isinstance(error, RuntimeError):
        return None
    if isinstance(error, OSError) and error.errno is None and len(error.args) > 1:
        return ": ".join(str(part) for part in (*error.args[1:], error.filename) if part is not None)
    return text or type(error).__name__


def one_of(what: str, name: str, choices: Collection[str]) -> str:
    """Return `name` if it is one of `choices`. Raises ValueError that lists the choices and names the nearest."""
    if name not in choices:
        raise ValueError(
            f"unknown {what} {name!r}; choose one of: {', '.join(sorted(choices))}{nearest(name, choices)}"
        )
    return name


def nearest(name: str, choices: Iterable[str]) -> str:
    """Write which of the choices is nearest to a name, in brackets; nothing if none is near."""
    near = difflib.get_close_matches(name, choices, n=1)
    return f" (nearest: {near[0]})" if near else ""
