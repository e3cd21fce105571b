"""Compare the models of a data set: test each pair, over seeds and over test rows.

The metric of `training` decides. Two things make a difference uncertain: the seed of a run, and which rows happen to be
in the test split. A pair differs only if it would with other seeds (Welch's t test on the seeds' figures) and with
other rows (the bootstrap's standard error, on the same resamples of the test rows for both models): the larger p of the
two counts, corrected by Holm's method for all pairs of the data set.
"""

import json
import math
import statistics
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from pipelines.project.metric import Metric
from pipelines.project.paths import Paths

LEVEL = 0.05
Cells = dict[
    str, tuple[list[float], np.ndarray]
]  # by model: test metric `[seeds]`, and on resamples `[resamples]`, mean


def compare(paths: Paths, dataset: str, models: Sequence[str], metric: Metric) -> dict[str, Any]:
    """All about one data set: models, best first, pairs, groups that do not differ, and why models are left out."""
    cells: Cells = {}
    left_out: dict[str, str] = {}
    for model in models:
        read = read_cell(paths, dataset, model, metric)
        if isinstance(read, str):
            left_out[model] = read
        else:
            cells[model] = read
    if len({len(resampled) for _, resampled in cells.values()}) > 1:
        raise ValueError(f"the models of {dataset} have different numbers of resamples: run pipelines.evaluate again")
    ranked = sorted(cells, key=lambda model: metric.score(statistics.fmean(cells[model][0])))
    pairs = compare_pairs({model: cells[model] for model in ranked})
    return {
        "models": [
            {
                "model": model,
                f"test_{metric.name}_mean": statistics.fmean(cells[model][0]),
                f"test_{metric.name}_std": statistics.stdev(cells[model][0]),
                "interval": interval(cells[model][1]),
            }
            for model in ranked
        ],
        "pairs": pairs,
        "groups": groups(ranked, pairs),
        "left_out": left_out,
    }


def read_cell(paths: Paths, dataset: str, model: str, metric: Metric) -> tuple[list[float], np.ndarray] | str:
    """Read the test metric of each seed, and on each resample their mean; or why the cell can't be compared."""
    folder = paths.results(dataset, model)
    if not (folder / "metrics.json").exists():
        return "not evaluated yet"
    metrics, best = (json.loads((folder / name).read_text(encoding="utf-8")) for name in ("metrics.json", "best.json"))
    seeds = metrics.get("seeds")
    if not seeds:
        return "it declines the data set"
    if best["metric"] != metric.name:
        return f"searched and evaluated with training.metric {best['metric']}"
    if len(seeds) < 2:
        return "one seed says nothing of the spread over seeds"
    if not (folder / "resamples.csv").exists():
        return "evaluated without resamples of the test rows"
    table = pl.read_csv(folder / "resamples.csv").drop("resample")
    return [figures[f"test_{metric.name}"] for figures in seeds.values()], table.to_numpy().mean(axis=1)


def compare_pairs(cells: Cells) -> list[dict[str, Any]]:
    """A record a pair: mean difference (the first is no worse), its 95 % interval over test rows, and p values."""
    pairs = []
    for a, b in combinations(cells, 2):
        difference = statistics.fmean(cells[a][0]) - statistics.fmean(cells[b][0])
        resampled = cells[a][1] - cells[b][1]
        p_seeds = welch(cells[a][0], cells[b][0])
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
    """Compute the two-sided p of Welch's t test: that samples with means so far apart have the same expectation.

    Samples without spread, of which it says nothing: 1 where they are equal, else 0.
    """
    from scipy.stats import ttest_ind  # takes time to import

    if len({*a}) == len({*b}) == 1:
        return float(a[0] == b[0])
    result: Any = ttest_ind(a, b, equal_var=False)
    return float(result.pvalue)


def holm(ps: Sequence[float]) -> list[float]:
    """The p values corrected for their number n: the least times n, the next times n − 1, …, never falling."""
    corrected, highest = [1.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda place: ps[place])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[place]))
        corrected[place] = highest
    return corrected


def interval(resampled: np.ndarray) -> list[float]:
    """From the 2.5 % to the 97.5 % quantile."""
    return [float(bound) for bound in np.quantile(resampled, [0.025, 0.975])]


def groups(ranked: Sequence[str], pairs: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The longest runs of neighbours in the ranking of which no two differ, of two models or more."""
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
