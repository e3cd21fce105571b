"""Check that compiled code is kept for other processes."""

import os
import subprocess
import sys

import pytest

ONE = """
from models.kernels.code_cache import compiled

@compiled
def plus(a, b):
    return a + b + 1
"""
CALL = """
import sys
import numpy as np
import one

types = [np.float32, np.int64][:: int(sys.argv[1])]
print([int(one.plus(kind(3), kind(4))) for kind in types], sum(one.plus.stats.cache_misses.values()))
"""


@pytest.fixture
def calling(tmp_path):
    """Return a function that starts a process, which calls a compiled function with two types."""
    (tmp_path / "one.py").write_text(ONE)

    def start(order=1, **environment):
        paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
        cache = {"FACTORBENCH_CACHE": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **cache, **environment}
        command = [sys.executable, "-c", CALL, str(order)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    return start


def ends(*processes):
    """Return the results that processes print, and how many types each compiled for."""
    printed = [process.communicate()[0].strip().rsplit(" ", 1) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return [result for result, _ in printed], [int(count) for _, count in printed]


def test_processes_that_start_at_once_compile_each_type_once_and_later_ones_nothing(calling, tmp_path):
    results, counts = ends(calling(), calling(-1))
    assert results == ["[8, 8]", "[8, 8]"]
    assert sum(counts) == 2
    another_cpu = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}  # which needs other code
    assert ends(calling(), calling(**another_cpu)) == (["[8, 8]"] * 2, [0, 2])
    # nothing is written beside the code, which may be where nobody may write
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "one.py"]


def test_changed_code_is_compiled_anew_also_with_the_same_size_and_time(calling, tmp_path):
    file = tmp_path / "one.py"
    before = file.stat()
    assert ends(calling()) == (["[8, 8]"], [2])
    file.write_text(ONE.replace("+ 1", "+ 2"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ends(calling()) == (["[9, 9]"], [2])


def test_where_nothing_can_be_written_each_process_compiles(calling, tmp_path):
    (tmp_path / "file").touch()
    nowhere = {"FACTORBENCH_CACHE": str(tmp_path / "file" / "cache")}
    assert ends(calling(**nowhere)) == (["[8, 8]"], [2])
