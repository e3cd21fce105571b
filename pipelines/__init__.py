"""The benchmark's stages (verbs, each `python -m pipelines.NAME`) and what they share (nouns)."""

import os

# Read when ray is imported, so before any module here does: no usage statistics, token authentication on, no sight of a
# GPU for a run that asks for none, a Ctrl-C that is an error (by default Tune takes it as the end of a search, and
# returns), two workers that start at once (by default one after the other), no process that waits for a cloud to take a
# machine back (a run has no checkpoint to go on from), and no progress display or trial files but ours.
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
if not os.environ.get("RAY_ADDRESS"):  # without it, Ray binds a cluster of this machine alone to all its interfaces
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
