"""Define each metric's name and direction. `pipelines.training.metrics` computes the metrics."""

from dataclasses import dataclass
from typing import Literal

MetricName = Literal["rmse", "auc", "logloss"]


@dataclass(frozen=True)
class Metric:
    """Describe a metric that can decide rankings, searches and tests."""

    name: MetricName
    title: str
    higher_is_better: bool = False

    def score(self, value: float) -> float:
        """Convert a value to a score, or a score to its value. Lower scores are better."""
        return -value if self.higher_is_better else value


METRICS = {
    metric.name: metric
    for metric in (Metric("rmse", "RMSE"), Metric("auc", "AUC", higher_is_better=True), Metric("logloss", "logloss"))
}
