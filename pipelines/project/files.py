"""Write files completely or not at all, and lock folders."""

import contextlib
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`. A block that succeeds renames it to `path`; else it is removed.

    Raises OSError that names `path` when the folder can't be written or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())  # otherwise a power cut may leave an empty file
        partial.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error  # Polars gives no number
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path, who: str) -> Iterator[None]:
    """Hold the lock of a folder. Creates a missing folder. The lock becomes free when its process dies.

    Raises ValueError with the id and host of the other process that holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    holder = folder / "lock.holder"
    try:
        with FileLock(folder / "lock", timeout=0):
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
            yield
    except Timeout:
        name = holder.read_text(encoding="utf-8") if holder.exists() else "another process"
        raise ValueError(f"{who} is at work already: {name} holds {folder / 'lock'}") from None


FAILED = "failed.txt"  # in the folder of a cell's studies: why its last search or evaluation failed


@contextlib.contextmanager
def noted_failure(folder: Path) -> Iterator[None]:
    """Note in a folder why a block fails, for pages that show what is missing. A block that succeeds removes the note.

    The folder need not exist, and a note that can't be written is left out.
    """
    note = folder / FAILED
    try:
        yield
    except Exception as error:
        with contextlib.suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(" ".join(str(error).split()) or type(error).__name__, encoding="utf-8")
        raise
    with contextlib.suppress(OSError):
        note.unlink(missing_ok=True)


def failure(folder: Path) -> str | None:
    """Read why the last search or evaluation of a cell failed; None where it did not."""
    note = folder / FAILED
    return note.read_text(encoding="utf-8") if note.exists() else None


def write_text(path: Path, text: str) -> None:
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Compute the hexadecimal digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
