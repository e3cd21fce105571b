"""Train one setting of a search in a Ray worker."""

import json
import math
import os
import threading
import time
from typing import Any

from ray import tune

from pipelines.project import code
from pipelines.project.cluster import last_line
from pipelines.project.params import TuneParams
from pipelines.project.settings import Setting
from pipelines.search.journal import REASON
from pipelines.search.pace import too_slow
from pipelines.search.scheduling import METRIC
from pipelines.search.study_search import OF_SETTING, OTHER_CODE, TOO_SLOW
from pipelines.training.cell import Cell
from pipelines.training.epochs import Epoch
from pipelines.training.process import prepare_process


def run_trial(
    drawn: dict[str, Any], cell: Cell, fixed: Setting, known: list[Setting], budget: TuneParams, running: str
) -> None:
    """Train one setting in a Ray worker, and report each epoch, or why training failed.

    A setting that is too slow for the search's time is not trained, unless it is one of the `known` ones, of which the
    first is the paper's.
    """
    try:
        code.check_same(running)
    except ValueError as error:
        tune.report({METRIC: math.inf, "epoch": 0, REASON: str(error), OTHER_CODE: True})
        return
    prepare_process(budget.cpus_per_trial)
    setting = {**fixed, **drawn}
    best, last, limit, start = math.inf, 0, budget.trial_timeout_s, time.monotonic()

    def report(epoch: Epoch) -> None:
        nonlocal best, last
        best, last = min(best, epoch.valid.score(cell.training.metric)), epoch.epoch
        tune.report({METRIC: best, "epoch": last})
        if limit and time.monotonic() - start > limit:
            raise TimeoutError(f"it took longer than tune.trial_timeout_s, {limit:g} s")

    hangs = threading.Timer(2 * (limit or 0), os._exit, [1])
    if limit:
        hangs.start()
    try:
        if drawn not in known and (slow := too_slow(cell, setting, {**fixed, **known[0]}, budget)):
            tune.report({METRIC: math.inf, "epoch": last, REASON: slow, TOO_SLOW: True})
            return
        cell.train(setting, trial_seed(cell, setting), report)
    except Exception as error:  # not raised again, as Tune would repeat the trial
        reason = f"{type(error).__name__}: {last_line(error)}"
        of_setting = isinstance(error, ValueError | FloatingPointError)
        tune.report({METRIC: math.inf, "epoch": last, REASON: reason, OF_SETTING: of_setting})
    finally:
        hangs.cancel()


def trial_seed(cell: Cell, setting: Setting) -> int:
    """Derive the seed of a trial from its setting alone."""
    return cell.seed("tune", json.dumps(setting, sort_keys=True))
