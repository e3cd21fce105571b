"""Show a search: a live table on a terminal, else a line for each trial."""

import time
from typing import Any

from ray.tune import Callback
from rich.console import Console
from rich.live import Live
from rich.table import Table

from pipelines.project.metric import Metric
from pipelines.project.settings import format_setting
from pipelines.search.study_search import TOO_SLOW


class TrialTable(Callback):
    """Show running trials, the number of ended trials, the best value and the time left.

    `done` trials of `num_trials` ended before; the others have `seconds_left`. None means no bound.
    """

    def __init__(
        self,
        title: str,
        metric: Metric,
        done: int,
        num_trials: int | None,
        seconds_left: float | None,
        best: float | None,
    ) -> None:
        self.title, self.metric, self.done, self.best = title, metric, done, best
        self.num_trials, self.seconds_left = num_trials, seconds_left
        self.start, self.done_before = time.monotonic(), done
        self.running: dict[str, tuple[str, int, float | None]] = {}  # trial id: setting, epoch, best
        self.reasons: dict[str, tuple[str, str]] = {}  # trial id: failed or left out, and why
        self.console = Console(stderr=True)
        self.live = Live(console=self.console, get_renderable=self.render, refresh_per_second=2)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the display out, as Tune pickles its callbacks."""
        return {key: value for key, value in vars(self).items() if key not in ("console", "live")}

    def setup(self, *args: Any, **info: Any) -> None:
        if self.console.is_terminal:
            self.live.start()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.running[trial.trial_id] = (format_setting(trial.config), 0, None)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self.running[trial.trial_id] = (format_setting(trial.config), result["epoch"], result["best_score"])
        if reason := result.get("reason"):
            self.reasons[trial.trial_id] = "left out" if result.get(TOO_SLOW) else "failed", reason

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        _, epochs, value = self.running.pop(trial.trial_id, ("", 0, None))
        if ended := self.reasons.pop(trial.trial_id, None):
            self.end_trial(f"{ended[0]}, {format_setting(trial.config)}: {ended[1]}")
            return
        if value is not None:
            self.best = value if self.best is None else min(self.best, value)
        self.end_trial(f"{epochs} epochs, {self.format_score(value)}, {format_setting(trial.config)}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.running.pop(trial.trial_id, None)
        self.end_trial(f"failed, {format_setting(trial.config)}")

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        self.live.stop()

    def end_trial(self, outcome: str) -> None:
        self.done += 1
        if not self.console.is_terminal:
            self.console.print(f"{self.summary()}: {outcome}", highlight=False, soft_wrap=True)

    def summary(self) -> str:
        total = f" of {self.num_trials}" if self.num_trials else ""
        return f"{self.title}: {self.done}{total} trials, best {self.format_score(self.best)}, {self.time_left()}"

    def time_left(self) -> str:
        """Estimate the time left, by the time budget and by the trials so far."""
        elapsed, estimates = time.monotonic() - self.start, []
        if self.seconds_left is not None:
            estimates.append(self.seconds_left - elapsed)
        if self.num_trials and self.done > self.done_before:
            left = self.num_trials - self.done
            estimates.append(elapsed / (self.done - self.done_before) * left)
        return f"about {max(0, min(estimates)):.0f} s left" if estimates else "time left not known yet"

    def format_score(self, score: float | None) -> str:
        """Format the metric's value for a score."""
        return "–" if score is None else self.metric.format(self.metric.score(score))

    def render(self) -> Table:
        table = Table("running", "epoch", "best", title=self.summary(), title_justify="left")
        for setting, epoch, value in list(self.running.values()):
            table.add_row(setting, str(epoch), self.format_score(value))
        return table
