"""Average the kept logits of final runs: over the seeds of a model, and over models.

Nothing is trained. The mean of logits is that of log odds, in which a run that is sure counts for more than in a mean
of probabilities. A model trained on squared error has the label itself for a logit. Where models of both kinds are
averaged, those trained on cross-entropy take part with their label's expectation.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from pipelines.evaluation.results import Mixture
from pipelines.project.metric import METRICS, Metric
from pipelines.project.predicted import Predicted
from pipelines.training.metrics import predictions

MOST_STEPS = 25  # of the greedy choice
DECIMALS = 12  # of scores: what differs less are rounding errors


@dataclass(frozen=True)
class Member:
    """Hold a final run's logits `[rows]` by split, its loss, and what it costs."""

    model: str
    seed: int
    logits: dict[str, np.ndarray]
    loss: str
    num_params: int
    seconds_per_epoch: float

    @property
    def name(self) -> str:
        return f"{self.model} {self.seed}"


def predicted(logits: np.ndarray, loss: str) -> np.ndarray:
    """Turn logits into expectations of the label, in [−1, 1]."""
    return predictions(torch.from_numpy(logits).double(), loss).numpy()


def alike(members: Sequence[Member]) -> list[Member]:
    """Make members comparable: where losses differ, all predict the label itself."""
    if len({member.loss for member in members}) < 2:
        return list(members)
    return [
        replace(
            member,
            logits={split: predicted(each, member.loss) for split, each in member.logits.items()},
            loss="squared_error",
        )
        if member.loss == "cross_entropy"
        else member
        for member in members
    ]


def mean_of(members: Sequence[Member], split: str, labels: np.ndarray, groups: np.ndarray | None = None) -> Predicted:
    """Average members of one loss; one that occurs twice counts twice."""
    mean = np.mean(np.array([member.logits[split] for member in members], dtype=np.float64), axis=0)
    return Predicted(mean, predicted(mean, members[0].loss), labels, groups)


def greedy(
    members: Sequence[Member], labels: np.ndarray, metric: Metric, groups: np.ndarray | None = None
) -> list[Member]:
    """Choose members of one loss for an ensemble on validation rows, with replacement.

    This is forward selection as in Caruana et al. 2004, Ensemble Selection from Libraries of Models: each step adds the
    member with which the mean is best, and the best of all steps counts. Of equal members it adds the one that it has
    most of: one that orders no rows, such as a constant, would only dilute the others.
    """
    logits, loss = [member.logits["valid"].astype(np.float64) for member in members], members[0].loss
    chosen: list[int] = []
    found: list[tuple[float, int]] = []
    total = np.zeros(len(labels))
    for step in range(1, MOST_STEPS + 1):
        tried = []
        for each in logits:
            mean = (total + each) / step
            score = metric.score(metric.value(Predicted(mean, predicted(mean, loss), labels, groups)))
            tried.append(round(score, DECIMALS))
        best = min(range(len(members)), key=lambda n: (tried[n], -chosen.count(n)))
        chosen.append(best)
        total = total + logits[best]
        found.append((tried[best], step))
    return [members[n] for n in chosen[: min(found)[1]]]


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
