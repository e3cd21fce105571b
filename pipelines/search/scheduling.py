"""Stop trials that fall behind the others, and all trials when the time is up."""

import math
import time
from collections.abc import Collection
from typing import Any

from ray.tune import Callback, Stopper
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from pipelines.search.journal import REASON

METRIC = "best_score"  # the best epoch's validation metric, with its sign changed where higher is better


def scheduler(
    name: str, max_epochs: int, stopped: set[str], kept: Collection[str] = (), grace: int | None = None
) -> TrialScheduler:
    """Make a scheduler that may stop trials early, and then notes their names in `stopped`.

    It never stops the trials that are named in `kept`, nor any in its first `grace` epochs (None: a ninth of
    `max_epochs`).

    asha (Li et al. 2020): a third of the trials goes on after these epochs, a third of these after three times as
    many, and so on. median (Golovin et al. 2017): from then on, a trial stops when its best value is worse than the
    median of the others.
    """
    first = grace or max(1, max_epochs // 9)
    if name == "asha":
        chosen: TrialScheduler = ASHAScheduler("epoch", max_t=max_epochs, grace_period=first, reduction_factor=3)
    elif name == "median":
        never: Any = math.inf  # to be paused, as a trial would start again from its first epoch
        chosen = MedianStoppingRule(time_attr="epoch", grace_period=first, min_time_slice=never)
    else:
        chosen = FIFOScheduler()
    return NotingScheduler(chosen, max_epochs, stopped, kept)


class NotingScheduler(TrialScheduler):
    """Ask another scheduler, and note the trials that it stops before their end."""

    def __init__(self, inner: TrialScheduler, max_epochs: int, stopped: set[str], kept: Collection[str]) -> None:
        self.inner, self.max_epochs, self.stopped, self.kept = inner, max_epochs, stopped, kept
        self.spared: set[str] = set()  # kept trials that would have been stopped: the other is not asked again

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        ends = REASON in result or result["epoch"] == self.max_epochs  # by itself
        if ends or trial.trial_id in self.spared:
            return TrialScheduler.CONTINUE
        decision = self.inner.on_trial_result(tune_controller, trial, result)
        if decision == TrialScheduler.STOP and trial.trial_id in self.kept:
            self.spared.add(trial.trial_id)
            return TrialScheduler.CONTINUE
        if decision == TrialScheduler.STOP:
            self.stopped.add(trial.trial_id)
        return decision

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return self.inner.set_search_properties(metric, mode, **spec)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self.inner.on_trial_add(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self.inner.on_trial_error(tune_controller, trial)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        self.inner.on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self.inner.on_trial_remove(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any, **kwargs: Any) -> Any:
        return self.inner.choose_trial_to_run(tune_controller, **kwargs)

    def debug_string(self) -> str:
        return self.inner.debug_string()


class TimeBudget(Stopper, Callback):
    """Stop all trials `seconds` after the first one could start. None means never.

    The time in which Ray and the first worker start is no part of it.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds, self.start = seconds, math.inf

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.start = min(self.start, time.monotonic())

    def spent(self) -> float:
        """Return the seconds since the first trial started."""
        return max(0.0, time.monotonic() - self.start)

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.seconds is not None and self.spent() >= self.seconds
