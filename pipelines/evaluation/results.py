"""Describe the result files of a cell: best.json of its search, metrics.json of its final runs."""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from pipelines.project.metric import EVERY_EPOCH, MetricName
from pipelines.project.provenance import Origin
from pipelines.project.records import ABSENT, Record, command, read_record


class Declined(Record):
    """Say in best.json why a model can't be trained on a data set."""

    model: str
    dataset: str
    declined: str


class OtherSearch(Record):
    """Hold what another search of the same cell found, with other seeds."""

    setting: dict[str, Any]
    valid: float
    trial: int
    study: str


class Best(Record):
    """Hold the best setting that a search found, and how it searched."""

    model: str
    dataset: str
    setting: dict[str, Any]
    valid: float = Field(exclude=True)  # the best trial's metric; in the file, valid_rmse or that of another metric
    metric: MetricName
    trial: int
    num_trials: int
    budget: dict[str, float | None]
    seeds: dict[str, int]
    study: str
    other_searches: list[OtherSearch] | None = ABSENT
    made_by: Origin

    @model_validator(mode="before")
    @classmethod
    def find_the_metric(cls, content: Any) -> Any:
        """Take the value that the file has under the metric's name."""
        name = f"valid_{content.get('metric')}" if isinstance(content, dict) else ""
        return {**content, "valid": content[name]} if name and name in content else content

    @model_serializer(mode="wrap")
    def name_the_metric(self, as_written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write the value under the metric's name, behind the setting."""
        content = as_written(self)
        start = {key: content.pop(key) for key in ("model", "dataset", "setting")}
        return start | {f"valid_{self.metric}": self.valid} | content


class Run(Record):
    """Hold what one final run reached."""

    test: dict[str, float]  # test_rmse, and test_ of other metrics
    resamples: list[float]  # the deciding metric on each resample of the test rows
    num_params: int
    epochs: list[dict[str, int | float]]  # of each epoch: epoch, seconds, train_loss, validation metrics
    interactions: dict[str, float] = Field(default={})  # of each pair of fields, by FIELD-FIELD
    peak_memory_mb: float | None = ABSENT  # of the process that trained it; older records lack it
    made_by: Origin


class Seed(Record):
    """Hold one final run's figures: test_METRIC, and valid_METRIC of the best epoch.

    All seeds have the metrics of every epoch. Others were not computed by each version.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float]  # type: ignore[reportIncompatibleVariableOverride]

    best_epoch: int
    epochs: int
    seconds_per_epoch: float  # median
    peak_memory_mb: float | None = None  # of the process, in MiB; older records lack it

    @model_validator(mode="after")
    def have_the_metrics_of_every_epoch(self) -> "Seed":
        for name in (f"{split}_{metric}" for split in ("test", "valid") for metric in EVERY_EPOCH):
            if name not in self.__pydantic_extra__:
                raise ValueError(f"{name} is missing")
        return self

    def figures(self) -> dict[str, int | float]:
        """Return all figures, metrics first."""
        own = {name: getattr(self, name) for name in Seed.model_fields}
        return {**self.__pydantic_extra__, **{name: each for name, each in own.items() if each is not None}}

    @model_serializer(mode="plain")
    def metrics_first(self) -> dict[str, int | float]:
        return self.figures()


class Summary(Record):
    """Hold the final runs of a cell; no seeds where the model declines the data set."""

    num_params: int | None = ABSENT
    made_by: Origin | None = ABSENT  # the first seed's: all have the same behaviour
    interactions: dict[str, float] | None = ABSENT  # the mean over the seeds; older records lack it
    seeds: dict[str, Seed] = Field(default={}, exclude_if=lambda seeds: not seeds)
    searches: list[dict[str, float]] | None = ABSENT  # for each search, the first included: means over the seeds

    def values(self, name: str) -> list[float]:
        """Return a figure of every seed; none where a seed lacks it."""
        figures = [seed.figures().get(name) for seed in self.seeds.values()]
        return [] if None in figures else [figure for figure in figures if figure is not None]

    def mean(self, name: str) -> float | None:
        """Compute the mean of a figure over the seeds; None without seeds, or where a seed lacks it."""
        values = self.values(name)
        return statistics.fmean(values) if values else None

    def std(self, name: str) -> float | None:
        """Compute the standard deviation of a sample (n − 1); None under two seeds."""
        values = self.values(name)
        return statistics.stdev(values) if len(values) > 1 else None

    @model_validator(mode="before")
    @classmethod
    def have_all_seeds(cls, content: Any) -> Any:
        """Raise ValueError for a file that lacks seeds which it counts."""
        if isinstance(content, dict) and content.get("num_seeds", 0) > len(content.get("seeds", {})):
            raise ValueError(f"num_seeds is {content['num_seeds']}, but the file has fewer seeds")
        return content

    @model_serializer(mode="wrap")
    def with_spread(self, as_written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Add the number of seeds, and each figure's mean and standard deviation."""
        parts: dict[str, Callable[[str], float | None]] = {"mean": self.mean, "std": self.std}
        names = dict.fromkeys(name for seed in self.seeds.values() for name in seed.figures())
        spread = {f"{name}_{part}": compute(name) for name in names for part, compute in parts.items()}
        return {"num_seeds": len(self.seeds)} | spread | as_written(self)


class Mixture(Record):
    """Hold what a mean of final runs reached, or the paper's setting."""

    name: str
    kind: Literal["default", "seeds", "models"]
    members: dict[str, int]  # how often each run counts, such as "fm 0" for seed 0 of fm
    valid: dict[str, float]
    test: dict[str, float]
    spread: dict[str, float] = Field(default={})  # over the seeds of the paper's setting: deviations of test metrics
    num_params: int  # of all members together
    seconds_per_epoch: float
    num_trials: int


class Mixtures(Record):
    """Hold the mixtures of a data set, and which final runs they are of."""

    dataset: str
    metric: MetricName
    mixtures: list[Mixture]
    of: dict[str, str]  # the digest of each model's metrics.json
    left_out: dict[str, str]  # why models have no part


def read_best(folder: Path, model: str, dataset: str) -> Best | Declined:
    """Read best.json in a cell's folder. Raises ValueError that names the search to run."""
    kind: Any = Best | Declined
    return read_record(folder / "best.json", kind, command("tune", model, dataset))


def check_metric(best: Best, metric: str) -> None:
    """Raise ValueError for a setting that another metric has chosen."""
    if best.metric != metric:
        raise ValueError(
            f"the search of {best.model} on {best.dataset} had training.metric {best.metric}, not {metric}: run "
            + command("tune", best.model, best.dataset)
        )


def read_summary(folder: Path, model: str, dataset: str) -> Summary:
    """Read metrics.json in a cell's folder. Raises ValueError that names the evaluation to run."""
    return read_record(folder / "metrics.json", Summary, command("evaluate", model, dataset))
