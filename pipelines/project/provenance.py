"""Tell which code, with which versions and on which machine, makes a result."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

VERSIONS = ("torch", "numpy", "polars", "optuna", "ray")


def made_by(behaviour: str) -> dict[str, Any]:
    """Describe the run that makes a result: commit, versions, CPU, and the behaviour of its code.

    `dirty` says whether any Python file differs from the commit. Both are None where the code is in no git repository.
    """
    commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "--", "*.py")
    return {
        "commit": commit,
        "dirty": None if changes is None else bool(changes),
        "behaviour": behaviour,
        "versions": {"python": platform.python_version(), **{name: version_of(name) for name in VERSIONS}},
        "cpu": cpu(),
    }


def git(*arguments: str) -> str | None:
    """What git answers in the folder of the code; None where there is no git, or no repository."""
    root = Path(__file__).parents[2]
    try:
        answer = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cpu() -> str:
    """The name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
