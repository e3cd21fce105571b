"""Describe results that others send in: `results/submissions/NAME.json` (docs/submissions.md)."""

import json
import statistics
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveInt, field_validator

from pipelines.project.files import write_json
from pipelines.project.metric import EVERY_EPOCH, METRICS
from pipelines.project.paths import Paths
from pipelines.project.provenance import Origin
from pipelines.project.records import Schema, check, readable

Link = Annotated[str, Field(pattern=r"^https://\S+$", max_length=300)]
Text = Annotated[str, Field(min_length=1, max_length=300)]
Figures = dict[str, float]  # test_rmse, and test_ of other metrics


class Verified(Schema):
    """Say what a rerun reached, and what made it."""

    seeds: dict[str, Figures]
    made_by: dict[str, Any]


class Submission(Schema):
    """Hold one setting of a model on a data set, and what each seed reached."""

    model: Text
    dataset: Text
    code: Link
    setting: dict[str, Any]
    seeds: Annotated[dict[Annotated[str, Field(pattern=r"^\d+$")], Figures], Field(min_length=2)]
    num_params: PositiveInt
    hardware: Text
    contact: Text
    verified: Verified | None = None

    @field_validator("seeds")
    @classmethod
    def have_the_metrics(cls, seeds: dict[str, Figures]) -> dict[str, Figures]:
        names = [f"test_{name}" for name in METRICS]
        for seed, figures in seeds.items():
            for name in (f"test_{name}" for name in EVERY_EPOCH):
                if name not in figures:
                    raise ValueError(f"seed {seed} lacks {name}")
            if unknown := figures.keys() - set(names):
                raise ValueError(f"seed {seed} has {min(unknown)}, which is none of: {', '.join(names)}")
        return seeds

    @property
    def state(self) -> str:
        """Say whether someone else has run it."""
        return "submitted, verified" if self.verified else "submitted, not verified"

    def values(self, metric: str) -> list[float]:
        """Return a test metric of every seed; none where a seed lacks it."""
        found = [figures.get(f"test_{metric}") for figures in self.seeds.values()]
        return [] if None in found else [value for value in found if value is not None]

    def mean(self, metric: str) -> float | None:
        values = self.values(metric)
        return statistics.fmean(values) if values else None

    def std(self, metric: str) -> float | None:
        values = self.values(metric)
        return statistics.stdev(values) if values else None


def read_submission(file: Path) -> Submission:
    """Read a submission. Raises ValueError with file, key and allowed values, and OSError."""
    try:
        content = json.loads(readable(file.read_bytes()))
    except ValueError as error:
        raise ValueError(f"{file}: no JSON: {error}") from error
    return check(Submission, content, f"{file}: ")


def read_submissions(paths: Paths, dataset: str) -> list[Submission]:
    """Read all submissions for a data set, in the order of their files' names."""
    found = [read_submission(file) for file in sorted(paths.submissions.glob("*.json"))]
    return [each for each in found if each.dataset == dataset]


def mark_verified(file: Path, submission: Submission, seeds: dict[str, Figures], origin: Origin) -> None:
    """Write into a submission what a rerun reached."""
    verified = Verified(seeds=seeds, made_by=origin.model_dump(mode="json"))
    write_json(file, submission.model_copy(update={"verified": verified}).model_dump(mode="json", exclude_none=True))
