"""Test which models of a data set differ, over seeds and over test rows.

The metric of `training` decides. Two things make a difference uncertain: the seed of a run, and which rows happen to be
in the test split. Each has a test: Welch's t test on the seeds' figures, and the bootstrap's standard error, on the
same resamples of the test rows for both models. A pair differs only if both tests say so. Hence the larger p of the two
counts; Holm's method corrects it for all pairs of the data set.
"""

import math
import statistics
import warnings
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from pipelines.evaluation.results import Best, command, read_best, read_summary
from pipelines.project.metric import Metric
from pipelines.project.paths import Paths
from pipelines.project.records import read_csv

LEVEL = 0.05
# By model: the test metric of each seed, and on each resample of the test rows the mean over the seeds.
Tested = dict[str, tuple[list[float], np.ndarray]]


def compare(paths: Paths, dataset: str, models: Sequence[str], metric: Metric) -> dict[str, Any]:
    """Compare the models of one data set.

    Returns the models, best first, their pairs, the groups without a difference, and why models are left out.
    """
    tested, left_out = read_tested(paths, dataset, models, metric)
    ranked = sorted(tested, key=lambda model: metric.score(statistics.fmean(tested[model][0])))
    pairs = compare_pairs({model: tested[model] for model in ranked})
    return {
        "models": [
            {
                "model": model,
                f"test_{metric.name}_mean": statistics.fmean(tested[model][0]),
                f"test_{metric.name}_std": statistics.stdev(tested[model][0]),
                "interval": interval(tested[model][1]),
            }
            for model in ranked
        ],
        "pairs": pairs,
        "groups": groups(ranked, pairs),
        "left_out": left_out,
    }


def read_tested(paths: Paths, dataset: str, models: Sequence[str], metric: Metric) -> tuple[Tested, dict[str, str]]:
    """Read the tested models of a data set, and why others can't be compared."""
    figures = {model: read_figures(paths, dataset, model, metric) for model in models}
    tested = {model: each for model, each in figures.items() if not isinstance(each, str)}
    if len({len(resampled) for _, resampled in tested.values()}) > 1:
        raise ValueError(
            f"the models of {dataset} have different numbers of resamples: run python -m pipelines.evaluate again"
        )
    return tested, {model: each for model, each in figures.items() if isinstance(each, str)}


def read_figures(paths: Paths, dataset: str, model: str, metric: Metric) -> tuple[list[float], np.ndarray] | str:
    """Read a model's part of `Tested`, or say why it can't be compared."""
    folder = paths.results(dataset, model)
    if not (folder / "metrics.json").exists():
        return "not evaluated yet"
    summary, best = read_summary(folder, model, dataset), read_best(folder, model, dataset)
    if not isinstance(best, Best) or not summary.seeds:
        return "it declines the data set"
    if best.metric != metric.name:
        return f"searched and evaluated with training.metric {best.metric}"
    if len(summary.seeds) < 2:
        return "one seed does not show the spread over seeds"
    if not summary.values(f"test_{metric.name}"):
        return f"evaluated without {metric.title}"
    if not (folder / "resamples.csv").exists():
        return "evaluated without resamples of the test rows"
    table = read_csv(folder / "resamples.csv", command("evaluate", model, dataset), numbers=True).drop("resample")
    return summary.values(f"test_{metric.name}"), table.to_numpy().mean(axis=1)


def compare_pairs(tested: Tested) -> list[dict[str, Any]]:
    """Compute each pair's mean difference, its 95 % interval over test rows, and p values.

    The first model of a pair is no worse than the second.
    """
    pairs = []
    for a, b in combinations(tested, 2):
        difference = statistics.fmean(tested[a][0]) - statistics.fmean(tested[b][0])
        resampled = tested[a][1] - tested[b][1]
        p_seeds = welch(tested[a][0], tested[b][0])
        error = float(resampled.std(ddof=1))
        p_rows = math.erfc(abs(difference) / error / math.sqrt(2)) if error else float(difference == 0)
        pairs.append(
            {
                "models": [a, b],
                "difference": difference,
                "interval": interval(resampled),
                "p_seeds": p_seeds,
                "p_rows": p_rows,
            }
        )
    corrected = holm([max(pair["p_seeds"], pair["p_rows"]) for pair in pairs])
    return [{**pair, "p": p, "differ": p < LEVEL} for pair, p in zip(pairs, corrected, strict=True)]


def welch(a: Sequence[float], b: Sequence[float]) -> float:
    """Compute the two-sided p of Welch's t test.

    The test says nothing of samples without spread: then p is 1 where they are equal, else 0.
    """
    from scipy.stats import ttest_ind  # takes time to import

    if len({*a}) == len({*b}) == 1:
        return float(a[0] == b[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # scipy's, of one sample without spread: a baseline has one
        result: Any = ttest_ind(a, b, equal_var=False)
    return float(result.pvalue)


def holm(ps: Sequence[float]) -> list[float]:
    """Correct n p values by Holm's method.

    The least is multiplied by n, the next by n − 1, and so on; no corrected value is less than the one before.
    """
    corrected, highest = [1.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda place: ps[place])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[place]))
        corrected[place] = highest
    return corrected


def interval(resampled: np.ndarray) -> list[float]:
    """Return the 2.5 % and the 97.5 % quantile."""
    return [float(bound) for bound in np.quantile(resampled, [0.025, 0.975])]


def groups(ranked: Sequence[str], pairs: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Find the longest runs of two or more neighbours in the ranking without a difference."""
    differ = {frozenset(pair["models"]) for pair in pairs if pair["differ"]}
    found: list[list[str]] = []
    for start in range(len(ranked)):
        group: list[str] = []
        for model in ranked[start:]:
            if any(frozenset((model, other)) in differ for other in group):
                break
            group.append(model)
        if len(group) > 1 and not (found and set(group) <= set(found[-1])):
            found.append(group)
    return found
