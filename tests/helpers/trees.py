"""Run commands with the code of the project or of a copy.

Each command runs in a fork of a process that has imported the large packages, which saves three seconds."""

import multiprocessing
import os
import runpy
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "torch",
        "ray.tune",
        "optuna.samplers",
        "polars",
        "pydantic",
        "rich.live",
        "scipy.stats",
        "typer",
        "dvc.cli.parser",
        "dvc.repo",
    ]
)


class Done(NamedTuple):
    """Hold what a command returned and printed."""

    returncode: int
    stdout: str
    stderr: str


def run_module(root: Path, name: str, *arguments: str, **environment: str) -> Done:
    """Do what `python -m name` does in a folder, with the modules of that folder."""
    with tempfile.TemporaryDirectory() as folder:
        output = [Path(folder) / stream for stream in ("stdout", "stderr")]
        variables = {**os.environ, **environment}
        process = FORKS.Process(target=run_here, args=(root, name, arguments, variables, output))
        process.start()
        process.join(300)
        assert process.exitcode is not None, "it takes too long"
        return Done(process.exitcode, *(file.read_text() for file in output))


def run_here(root: Path, name: str, arguments: tuple[str, ...], variables: dict[str, str], output: list[Path]) -> None:
    """Run a module in this process."""
    assert "pipelines" not in sys.modules
    for stream, file in enumerate(output, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), stream)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(root)
    sys.path.insert(0, str(root))
    sys.argv, sys.dont_write_bytecode = [name, *arguments], True  # two edits may have the same size and second
    runpy.run_module(name, run_name="__main__", alter_sys=True)
