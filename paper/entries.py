"""Read the entries of experiments.yaml."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt

from pipelines.project.records import Schema, check, read_yaml


class Defaults(Schema):
    """Hold the defaults of all experiments; an entry may override them."""

    set: dict[str, Any] = Field(default={})  # keys model.* and training.*; a default that a model lacks is ignored
    max_epochs: PositiveInt
    patience: PositiveInt | None = None  # null: no early stopping
    num_seeds: PositiveInt = 1


class Experiment(Defaults):
    """Hold one run of experiments.yaml, with the defaults filled in.

    `set` has only the entry's own keys, without those of the defaults.
    """

    figure: str
    label: str
    x: float | None = None  # position on the figure's x axis; null if the axis is the epoch
    model: str
    dataset: str
    start: str  # file with the rest of the setting: a search's best.json or a file of behaviour/spaces


def load_experiments(path: Path) -> tuple[Defaults, dict[str, Experiment]]:
    """Load the defaults and the experiments by name.

    Raises ValueError that names file and key, or OSError.
    """
    content = read_yaml(path)
    if not isinstance(content, dict) or not content.keys() >= {"defaults", "experiments"}:
        raise ValueError(f"{path}: it must have the keys defaults and experiments")
    defaults = check(Defaults, content["defaults"], f"{path}: defaults.")
    shared, experiments = defaults.model_dump(exclude={"set"}), {}
    try:
        entries = dict(expand(content["experiments"]))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    for name, entry in entries.items():
        place = f"{path}: experiments.{name.partition('/')[0]}."
        experiments[name] = check(Experiment, shared | entry, place)
    return defaults, experiments


def expand(entries: dict[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name the runs of each entry: ENTRY/run, or ENTRY/X for each x of a grid.

    Raises ValueError for an entry without keys, and for a grid without a value for each x.
    """
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            raise ValueError(f"experiments.{name}: it must have keys, got {entry!r}")
        if "vary" not in entry:
            yield f"{name}/run", entry
            continue
        rest = {key: value for key, value in entry.items() if key not in ("vary", "x", "values")}
        points, values = entry.get("x"), entry.get("values", entry.get("x"))
        if not (isinstance(points, list) and all(isinstance(x, int | float) for x in points)):
            raise ValueError(f"experiments.{name}.x: a grid needs a list of numbers, got {points!r}")
        if not (isinstance(values, list) and len({*points}) == len(points) == len(values)):
            raise ValueError(f"experiments.{name}: a grid needs different x and as many values, got {points}, {values}")
        for x, value in zip(points, values, strict=True):
            yield f"{name}/{x:g}", {**rest, "x": x, "set": {**entry.get("set", {}), entry["vary"]: value}}
