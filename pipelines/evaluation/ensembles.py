"""Average the kept predictions of final runs: over the seeds of a model, and over models.

Nothing is trained. A model trained on squared error predicts the label itself, and one trained on cross-entropy its
expectation, so both can be averaged.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from pipelines.evaluation.results import Mixture
from pipelines.project.metric import METRICS, Metric, Predicted
from pipelines.training.metrics import predictions

MOST_STEPS = 25  # of the greedy choice


@dataclass(frozen=True)
class Member:
    """Hold a final run's outputs `[rows]` by split, and what it costs.

    `scores` order rows; `predicted` are expectations of the label, in [−1, 1].
    """

    model: str
    seed: int
    scores: dict[str, np.ndarray]
    predicted: dict[str, np.ndarray]
    num_params: int
    seconds_per_epoch: float

    @property
    def name(self) -> str:
        return f"{self.model} {self.seed}"


def outputs(logits: dict[str, np.ndarray], loss: str) -> dict[str, dict[str, np.ndarray]]:
    """Turn logits into scores and predictions that can be averaged over models."""
    predicted = {split: predictions(torch.from_numpy(each).double(), loss).numpy() for split, each in logits.items()}
    scores = {split: each.astype(np.float64) for split, each in logits.items()}
    return {"scores": scores if loss == "squared_error" else predicted, "predicted": predicted}


def mean_of(members: Sequence[Member], split: str, labels: np.ndarray, groups: np.ndarray | None = None) -> Predicted:
    """Average the outputs of members; one that occurs twice counts twice."""
    scores = np.mean([member.scores[split] for member in members], axis=0)
    return Predicted(scores, np.mean([member.predicted[split] for member in members], axis=0), labels, groups)


def greedy(
    members: Sequence[Member], labels: np.ndarray, metric: Metric, groups: np.ndarray | None = None
) -> list[Member]:
    """Choose members for an ensemble on validation rows, with replacement.

    This is forward selection as in Caruana et al. 2004, Ensemble Selection from Libraries of Models: each step adds the
    member with which the mean is best, and the best of all steps counts.
    """
    chosen: list[Member] = []
    found: list[tuple[float, int]] = []
    scores, predicted = np.zeros(len(labels)), np.zeros(len(labels))
    for step in range(1, MOST_STEPS + 1):
        tried = []
        for member in members:
            mean = ((scores + member.scores["valid"]) / step, (predicted + member.predicted["valid"]) / step)
            tried.append(metric.score(metric.value(Predicted(*mean, labels, groups))))
        best = int(np.argmin(tried))
        chosen.append(members[best])
        scores, predicted = scores + members[best].scores["valid"], predicted + members[best].predicted["valid"]
        found.append((tried[best], step))
    return chosen[: min(found)[1]]


def mixture(
    name: str,
    kind: Literal["seeds", "models"],
    members: Sequence[Member],
    rows: dict[str, tuple[np.ndarray, np.ndarray | None]],
    metrics: Mapping[str, Sequence[str]],
    num_trials: int,
) -> Mixture:
    """Compute the metrics of a mean on both splits; `rows` has labels and groups of each."""
    means = {split: mean_of(members, split, *rows[split]) for split in rows}
    figures = {split: {each: METRICS[each].value(means[split]) for each in metrics[split]} for split in rows}
    counts = Counter(member.name for member in members)
    distinct = {member.name: member for member in members}.values()
    return Mixture(
        name=name,
        kind=kind,
        members=dict(sorted(counts.items())),
        num_params=sum(member.num_params for member in distinct),
        seconds_per_epoch=sum(member.seconds_per_epoch for member in distinct),
        num_trials=num_trials,
        **figures,
    )
