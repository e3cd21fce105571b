"""Share a time budget between the searches and the final runs of several models."""

import math
import re
import statistics
from collections.abc import Mapping, Sequence

START_SECONDS = 6  # of a stage, before it trains; until it is measured
SEARCH_SHARE = 0.55  # of the budget but for the starts; all else has the rest
LEAST_EPOCHS = 10  # that a final run is expected to take
UNITS = {"s": 1, "m": 60, "h": 3600}


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


def models_that_fit(seconds: Mapping[str, float], left: float, start: float) -> list[str]:
    """List the models, best first, whose final runs fit into the time that is left.

    `seconds` has those of a run of each model, the best model first. It always runs, also with the paper's setting. A
    stage takes `start` seconds before it trains.
    """
    chosen: list[str] = []
    for model, run in seconds.items():
        cost = (run + start) * (1 if chosen else 2)
        if cost <= left or not chosen:
            chosen.append(model)
            left -= cost
    return chosen


def seconds_of(text: str) -> float:
    """Read a duration such as 90s, 10m or 2h. Raises ValueError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text.strip())
    if not found or not float(found[1]):
        raise ValueError(f"time budget {text}: write a number and s, m or h, such as 10m")
    return float(found[1]) * UNITS[found[2]]
