"""Tell whether the code on disk is still the code that runs."""

import functools
import hashlib
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("models", "pipelines", "search_spaces")


def on_disk() -> dict[str, str]:
    """Compute the digest of each Python file."""
    files = (file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py")))
    return {str(file.relative_to(ROOT)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@functools.cache
def at_start() -> dict[str, str]:
    """Compute the digests once. `pipelines.project.cli.run` calls this before a command starts."""
    return on_disk()


def digest(files: dict[str, str]) -> str:
    """Compute twelve digits that stand for all files."""
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:12]


def check() -> None:
    """Raise ValueError that names the files that have changed since the start.

    Modules are imported late, and workers import them when they start, so a result might come from two versions.
    """
    then, now = at_start(), on_disk()
    changed = sorted(name for name in {*then, *now} if then.get(name) != now.get(name))
    if changed:
        more = f" and {len(changed) - 1} other files" if changed[1:] else ""
        raise ValueError(f"{changed[0]}{more} changed while this ran, so nothing is recorded: run it again")


def check_same(running: str) -> None:
    """Raise ValueError in a worker whose code is not that of the command, `digest(at_start())`."""
    if digest(on_disk()) != running:
        raise ValueError(f"the code in {ROOT} is not that of the command that started this: run it again")
