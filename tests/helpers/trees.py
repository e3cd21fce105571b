"""Run the code of a copy of the project.

Each command runs in a fork of a process that has imported the large packages, which saves three seconds."""

import contextlib
import multiprocessing
import os
import runpy
import sys
from pathlib import Path
from typing import NamedTuple

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["torch", "ray.tune.search.optuna", "polars", "pydantic", "scipy.stats", "typer"])


class Done(NamedTuple):
    """Hold what a command returned and printed."""

    returncode: int
    stdout: str
    stderr: str


def run_module(root: Path, name: str, *arguments: str) -> Done:
    """Do what `python -m name` does in a folder, with the modules of that folder."""
    output = [root / f".{stream}" for stream in ("stdout", "stderr")]
    process = FORKS.Process(target=run_here, args=(root, name, arguments, output))
    process.start()
    process.join(300)
    assert process.exitcode is not None, "it takes too long"
    return Done(process.exitcode, *(file.read_text() for file in output))


def run_here(root: Path, name: str, arguments: tuple[str, ...], output: list[Path]) -> None:
    """Run a module in this process."""
    assert "pipelines" not in sys.modules
    os.chdir(root)
    sys.path.insert(0, str(root))
    sys.argv, sys.dont_write_bytecode = [name, *arguments], True  # two edits may have the same size and second
    stdout, stderr = (file.open("w") for file in output)
    with stdout, stderr, contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        runpy.run_module(name, run_name="__main__", alter_sys=True)
