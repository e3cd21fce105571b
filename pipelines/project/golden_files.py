"""Read, compare and write golden files: the behaviour that a person has accepted (`pipelines.training.behaviour`)."""

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.project.files import write_text
from pipelines.project.params import TrainingParams

FOLDER = Path(__file__).parents[2] / "behaviour"
TOLERANCE = 1e-6  # relative: far above the rounding of float64, far below what a changed constant does
SEED = 2019
NEARLY_ZERO = 0.01  # of figures below, which are differences of larger ones, the tolerance is of this

Figures = dict[str, Any]


def golden_file(name: str) -> Path:
    return FOLDER / f"{name}.json"


def accepted(name: str) -> Figures | None:
    """What a golden file holds; None where it has never been accepted. Raises ValueError for a damaged one."""
    file = golden_file(name)
    if not file.exists():
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise ValueError(f"{file} is damaged: run python -m pipelines.behaviour --accept {name}") from error


def accept(name: str, figures: Figures) -> None:
    """Write a golden file, a list of figures a line."""
    text = json.dumps(figures, indent=2, ensure_ascii=False)
    lists = re.compile(r"\[\s+([^][{}]*?)\s+\]")
    write_text(golden_file(name), lists.sub(lambda match: f"[{' '.join(match[1].split())}]", text) + "\n")


class Difference(NamedTuple):
    """A figure that is not as accepted: where it stands, both values, and their relative distance."""

    place: str
    accepted: Any
    today: Any
    distance: float


def differences(then: Any, now: Any, place: str = "") -> list[Difference]:
    """All figures that differ by more than the tolerance, the worst first. A new default is no difference: whether it
    changes anything is what the trainings say."""
    found: list[Difference] = []
    if isinstance(then, dict) and isinstance(now, dict):
        keys = then.keys() if place == "defaults" else {**then, **now}
        for key in keys:
            found += differences(then.get(key), now.get(key), f"{place}, {key}" if place else key)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, pair in enumerate(zip(then, now, strict=True), 1):
            found += differences(*pair, f"{place} {number}")
    elif isinstance(then, float) and isinstance(now, int | float) and not isinstance(now, bool):
        distance = abs(then - now) / max(abs(then), abs(now), NEARLY_ZERO)
        if not distance <= TOLERANCE:  # nor for NaN
            found.append(Difference(place, then, now, distance))
    elif then != now:
        found.append(Difference(place, then, now, math.inf))
    return sorted(found, key=lambda difference: -difference.distance)


def digest_of(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def golden_names(model: str, training: TrainingParams) -> list[str]:
    """The golden files that the result of a training run hangs on."""
    return [model, f"optimizers/{training.optimizer}", "protocol"]


def accepted_behaviour(model: str, training: TrainingParams) -> str | None:
    """The same as the golden files have it, without a training; None where one is missing."""
    files = [accepted(name) for name in golden_names(model, training)]
    return None if None in files else digest_of([digest_of(file) for file in files])
