"""Run the benchmark: each module is a command, each folder holds shared parts."""

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

# The packages beside this one are meant, whatever folder a command runs in: it may have a models/ of its own.
for _name in ("models", "search_spaces"):
    _spec = PathFinder.find_spec(_name, [str(Path(__file__).parents[1])])
    if _spec and _spec.loader and _name not in sys.modules:
        sys.modules[_name] = module_from_spec(_spec)
        _spec.loader.exec_module(sys.modules[_name])

# Ray reads these when it is imported, so they are set before any module here imports it. In order: no usage statistics;
# token authentication; no GPU for a run that asks for none; Ctrl-C is an error (by default Tune ends the search and
# returns); two workers may start at the same time (by default one after the other); no process that waits for a cloud
# to take a machine back, as a run has no checkpoint to go on from; none of Ray's progress display and trial files.
for _key, _value in {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_MAX_PENDING_TRIALS_PG": "2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
}.items():
    os.environ.setdefault(_key, _value)
# torch reads this at its first tensor: large tensors lie in huge pages, in which rows of large tables are found sooner.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
if not os.environ.get("RAY_ADDRESS"):  # else a local Ray cluster listens on all network interfaces
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
