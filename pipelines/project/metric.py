"""Know the metrics: what each is called and which way is better. `pipelines.training.metrics` computes them."""

from dataclasses import dataclass
from typing import Literal

MetricName = Literal["rmse", "auc", "logloss"]


@dataclass(frozen=True)
class Metric:
    """A metric that rankings, searches and tests can follow."""

    name: MetricName
    title: str
    higher_is_better: bool = False

    def score(self, value: float) -> float:
        """Turn a value so that less is better; applied to a score, gives the value again."""
        return -value if self.higher_is_better else value


METRICS = {
    metric.name: metric
    for metric in (Metric("rmse", "RMSE"), Metric("auc", "AUC", higher_is_better=True), Metric("logloss", "logloss"))
}
