"""Compile functions by Numba, and keep what is compiled on disk.

The next process loads it. Numba's own caches depend on the path and the time of a source file, and may mix up
signatures when two processes write at once.
"""

# pyright: reportIncompatibleMethodOverride=false
import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock
from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

OPTIONS = {
    "nogil": True,  # threads of Python share the work
    "error_model": "numpy",  # no test whether a divisor is zero
    "fastmath": {"contract"},  # multiply and add at once, but keep the order of sums
}


class Folder(_CacheLocator):
    """Keep a file's code in a folder named by its content, and by this file's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> "Folder | None":
        """Choose a folder in the user's cache; None where nothing can be written.

        $NUMBA_CACHE_DIR or $FACTORBENCH_CACHE may name another place than ~/.cache/factorbench.
        """
        digest = hashlib.sha256(Path(py_file).read_bytes() + Path(__file__).read_bytes()).hexdigest()[:12]
        try:
            base = next(filter(None, map(os.environ.get, ("NUMBA_CACHE_DIR", "FACTORBENCH_CACHE"))), None)
            folder = Path(base or Path.home() / ".cache" / "factorbench") / "compiled" / digest
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except (OSError, RuntimeError):  # no home
            return None
        return cls(folder)

    def get_cache_path(self) -> str:
        return str(self.folder)

    def get_source_stamp(self) -> str:
        return self.folder.name

    def get_disambiguator(self) -> str:
        return ""


class InFolder(CompileResultCacheImpl):
    _locator_classes = (Folder,)


class Kept(FunctionCache):
    _impl_class = InFolder


def compiled(function: Callable[..., Any], **more: Any) -> Any:
    """Compile a function for each type of arguments, or load what was compiled before.

    One process compiles at a time, and the others wait and load. The function may call compiled functions of its own
    file only.
    """
    dispatcher: Any = njit(**OPTIONS | more)(function)
    lock: AbstractContextManager[Any] = nullcontext()
    try:
        dispatcher._cache = kept = Kept(function)
        lock = FileLock(Path(kept.cache_path) / "lock")
    except RuntimeError:  # nothing can be written: each process compiles
        pass
    compile_or_load = dispatcher.compile

    def alone(signature: Any) -> Any:
        with lock:
            try:
                return compile_or_load(signature)
            except OSError:  # it is compiled, but the disk is full
                return compile_or_load(signature)

    dispatcher.compile = alone
    return dispatcher


def compiled_sums(function: Callable[..., Any]) -> Any:
    """Compile a function as `compiled` does, whose sums along a vector may have another order."""
    return compiled(function, fastmath={"contract", "reassoc", "nsz"})
