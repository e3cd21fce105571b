"""Describe the result files of a cell: best.json of its search, metrics.json of its final runs."""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from pipelines.project.metric import MetricName
from pipelines.project.provenance import Origin
from pipelines.project.records import ABSENT, Record, command, read_record


class Declined(Record):
    """Say in best.json why a model can't be trained on a data set."""

    model: str
    dataset: str
    declined: str


class Best(Record):
    """Hold the best setting that a search found, and how it searched."""

    model: str
    dataset: str
    setting: dict[str, Any]
    valid_rmse: float | None = ABSENT  # the best trial's; of the three, the one that `metric` names
    valid_auc: float | None = ABSENT
    valid_logloss: float | None = ABSENT
    metric: MetricName
    trial: int
    num_trials: int
    budget: dict[str, float | None]
    seeds: dict[str, int]
    study: str
    made_by: Origin

    @property
    def valid(self) -> float:
        """Return the best trial's validation metric."""
        return getattr(self, f"valid_{self.metric}")


class Run(Record):
    """Hold what one final run reached."""

    test: dict[str, float]  # test_rmse, test_auc, test_logloss
    resamples: list[float]  # the deciding metric on each resample of the test rows
    num_params: int
    epochs: list[dict[str, int | float]]  # of each epoch: epoch, seconds, train_loss, validation metrics
    made_by: Origin


class Seed(Record):
    """Hold one final run's figures; the validation metrics are the best epoch's."""

    test_rmse: float
    test_auc: float
    test_logloss: float
    valid_rmse: float
    valid_auc: float
    valid_logloss: float
    best_epoch: int
    epochs: int
    seconds_per_epoch: float  # median


class Summary(Record):
    """Hold the final runs of a cell; no seeds where the model declines the data set."""

    num_params: int | None = ABSENT
    made_by: Origin | None = ABSENT  # the first seed's: all have the same behaviour
    seeds: dict[str, Seed] = Field(default={}, exclude_if=lambda seeds: not seeds)

    def values(self, name: str) -> list[float]:
        """Return a figure of every seed."""
        return [getattr(seed, name) for seed in self.seeds.values()]

    def mean(self, name: str) -> float | None:
        """Compute the mean of a figure over the seeds; None without seeds."""
        return statistics.fmean(self.values(name)) if self.seeds else None

    def std(self, name: str) -> float | None:
        """Compute the standard deviation of a sample (n − 1); None under two seeds."""
        return statistics.stdev(self.values(name)) if len(self.seeds) > 1 else None

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
        names = Seed.model_fields if self.seeds else ()
        spread = {f"{name}_{part}": compute(name) for name in names for part, compute in parts.items()}
        return {"num_seeds": len(self.seeds)} | spread | as_written(self)


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
