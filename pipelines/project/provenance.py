"""Record the code, package versions and machine that make a result."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

VERSIONS = ("torch", "numpy", "polars", "optuna", "ray")


def made_by(behaviour: str) -> dict[str, Any]:
    """Return a record of commit, package versions, CPU and behaviour.

    `dirty` is true if any Python file differs from the commit. `commit` and `dirty` are None outside a git repository.
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
    """Run git in the folder of the code and return its output. Returns None without git or a repository."""
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
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
