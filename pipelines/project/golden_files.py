"""Read, compare and write golden files: accepted behaviour (see `pipelines.training.behaviour`)."""

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.project.files import write_text
from pipelines.project.metric import METRICS
from pipelines.project.params import TrainingParams
from pipelines.project.paths import shipped
from pipelines.project.records import Missing, read_record

FOLDER = shipped("behaviour")
TOLERANCE = 1e-6  # relative: far above float64 rounding, far below the effect of a changed constant
SEED = 2019
NEARLY_ZERO = 0.01  # smaller figures are differences of larger ones: their tolerance is relative to this

Figures = dict[str, Any]


def golden_file(name: str) -> Path:
    return FOLDER / f"{name}.json"


def accepted(name: str) -> Figures | None:
    """Read a golden file. Returns None if it does not exist. Raises ValueError for a damaged file."""
    file = golden_file(name)
    try:
        return read_record(file, Figures, f"python -m pipelines.behaviour --accept {name}")
    except Missing:
        return None


def accept(name: str, figures: Figures) -> None:
    """Write a golden file, with each list of figures on one line."""
    text = json.dumps(figures, indent=2, ensure_ascii=False)
    lists = re.compile(r"\[\s+([^][{}]*?)\s+\]")
    write_text(golden_file(name), lists.sub(lambda match: f"[{' '.join(match[1].split())}]", text) + "\n")


class Difference(NamedTuple):
    """Hold a figure that differs: its place, both values, and their relative distance."""

    place: str
    accepted: Any
    today: Any
    distance: float


def differences(then: Any, now: Any, place: str = "") -> list[Difference]:
    """List all figures that differ by more than the tolerance, the largest distance first.

    A new default alone is not a difference, because the figures of the trainings show whether it has an effect.
    """
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
        if not distance <= TOLERANCE:  # also true for NaN
            found.append(Difference(place, then, now, distance))
    elif then != now:
        found.append(Difference(place, then, now, math.inf))
    return sorted(found, key=lambda difference: -difference.distance)


def digest_of(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def golden_names(model: str, training: TrainingParams) -> list[str]:
    """List the golden files that a training run's result depends on."""
    metrics = [] if METRICS[training.metric].every_epoch else ["metrics"]  # protocol has those of every epoch
    return [model, f"optimizers/{training.optimizer}", "protocol", *metrics]


def accepted_behaviour(model: str, training: TrainingParams) -> str | None:
    """Compute the behaviour digest of a training run from its golden files. Returns None if a file is missing."""
    files = [accepted(name) for name in golden_names(model, training)]
    return None if None in files else digest_of([digest_of(file) for file in files])
