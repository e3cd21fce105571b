"""Share a time budget between the searches and the final runs of several models."""

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

START_SECONDS = 4  # of a stage, before it trains; until it is measured
SEARCH_SHARE = 0.55  # of the budget but for the starts; all else has the rest
LEAST_EPOCHS = 10  # that a final run is expected to take
LEAST_MODELS = 3  # that are trained in any case, so that there is something to compare
UNITS = {"s": 1, "m": 60, "h": 3600}


class Run(NamedTuple):
    """Hold the least and the most seconds that a final run is expected to take."""

    least: float
    most: float


class Plan(NamedTuple):
    """Hold the models to train, and how many final runs each has.

    `paper` says whether the best model is also trained with the paper's setting.
    """

    models: list[str]
    paper: bool
    num_seeds: int


def run_like(trial: Mapping[str, Any], most_epochs: int) -> Run:
    """Estimate a final run from a row of trials.csv.

    A trial that the time budget ended says little of how many epochs a run takes.
    """
    epoch, epochs = trial["seconds"] / trial["epochs"], trial["epochs"]
    if trial["reason"]:
        return Run(epoch * max(epochs, LEAST_EPOCHS), epoch * most_epochs)
    return Run(epoch * epochs, epoch * epochs)


def forecast(epoch: float, search: float, num_models: int, left: float, seconds: float) -> str:
    """Say how long the data takes, from the seconds of an epoch of fm.

    `seconds` is the budget, and `left` what it leaves for the final runs of all models. Raises ValueError where that
    is too little for a short run of each model, as if each were as fast as fm.
    """
    least = num_models * LEAST_EPOCHS * epoch
    if least > left:
        enough = math.ceil(seconds + (least - left) / (1 - SEARCH_SHARE))
        raise ValueError(
            f"--time-budget {seconds:.0f}s leaves {max(0, left):.0f} s for the final runs of {num_models} models, "
            f"which take more than {least:.0f} s, as an epoch of fm takes {epoch:.1f} s: "
            f"give {enough}s or more, or fewer --models"
        )
    return f"an epoch of fm takes {epoch:.1f} s; each search has {search:.0f} s; all final runs have {left:.0f} s"


def start_seconds(searches: Sequence[float], each: float) -> float:
    """Estimate the seconds in which a stage does not train.

    They are those that searches took beyond the `each` seconds of their trials. A search that ended before its time
    tells nothing.
    """
    beside = [seconds - each for seconds in searches if seconds > each]
    return statistics.median(beside) if beside else START_SECONDS


def seeds_that_fit(seconds: float, left: float, most: int, at_once: int) -> int:
    """Return how many final runs of each model fit into the time that is left.

    One run of each model takes `seconds` in all. As many as run at once are always made.
    """
    fitting = [seeds for seeds in range(1, most + 1) if seconds * -(-seeds // at_once) <= left]
    return max(min(most, at_once), *fitting, 1)


def plan(runs: Mapping[str, Run], left: float, start: float, most_seeds: int, at_once: int) -> Plan:
    """Choose which final runs fit into the time that is left.

    `runs` has a run of each model, the best model first. The first three always run; the others, and the best one with
    the paper's setting, where there is time. A stage takes `start` seconds before it trains.
    """
    models: list[str] = []
    total = left
    for model, run in runs.items():
        if len(models) < LEAST_MODELS or run.least + start <= left:
            models.append(model)
            left -= run.least + start
    again = [model for model in models[:1] if runs[model].least + start <= left]
    trained = [*again, *models]
    seconds = sum(runs[model].most for model in trained)
    return Plan(models, bool(again), seeds_that_fit(seconds, total - start * len(trained), most_seeds, at_once))


def seconds_of(text: str) -> float:
    """Read a duration such as 90s, 10m or 2h. Raises ValueError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text.strip())
    if not found or not float(found[1]):
        raise ValueError(f"time budget {text}: write a number and s, m or h, such as 10m")
    return float(found[1]) * UNITS[found[2]]
