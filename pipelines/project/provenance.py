"""Say which code and data made a result, with which versions, on which machine."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipelines.project.records import ABSENT, Record

VERSIONS = ("torch", "numpy", "polars", "optuna", "ray")


class Origin(Record):
    """Say which code and data made a result, with which versions, on which machine."""

    commit: str | None  # None where the code is in no git repository
    dirty: bool | None  # whether any Python file differed from the commit
    behaviour: str
    versions: dict[str, str | None]
    cpu: str | None
    # of each raw file: its sha256, and whether it is the released one (null: nobody knows); older records lack it
    data: dict[str, dict[str, str | bool | None]] | None = ABSENT


def made_by(behaviour: str, data: dict[str, dict[str, Any]] | None = None) -> Origin:
    """Describe this process: commit, versions and CPU, with the behaviour of its code and its data."""
    changes = git("status", "--porcelain", "--", "*.py")
    return Origin(
        commit=git("rev-parse", "HEAD"),
        dirty=None if changes is None else bool(changes),
        behaviour=behaviour,
        versions=versions(),
        cpu=cpu(),
        data=data,
    )


def git(*arguments: str) -> str | None:
    """Ask git in the folder of the code; None where there is no git or no repository."""
    root = Path(__file__).parents[2]
    try:
        answer = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages that compute results."""
    return {"python": platform.python_version(), **{name: version_of(name) for name in VERSIONS}}


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
