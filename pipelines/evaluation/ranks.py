"""Compare models over data sets, by their ranks and errors.

The tests are those of Demšar 2006, Statistical Comparisons of Classifiers over Multiple Data Sets. Friedman's test asks
whether the mean ranks differ at all. Nemenyi's says by how much two must differ: the critical difference. Each data set
counts once, so few of them show little.
"""

import math
import statistics
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from pipelines.evaluation.comparisons import LEVEL, Tested, groups, interval
from pipelines.project.metric import Metric
from pipelines.project.seeds import seed_for

LEAST_DATASETS = 3


def rank_models(scores: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Rank the models that all data sets have. `scores` has each model's score by data set; lower is better.

    Returns the data sets, the ranks by model, best first, Friedman's p, the critical difference, and the groups within
    it. Under three data sets or two models there is only the key `why_not`.
    """
    from scipy.stats import friedmanchisquare, rankdata, studentized_range  # takes time to import

    having = {dataset: of_models for dataset, of_models in scores.items() if of_models}
    if len(having) < LEAST_DATASETS:
        return {"why_not": f"ranks over data sets need at least {LEAST_DATASETS} data sets with results"}
    models = [model for model in next(iter(having.values())) if all(model in each for each in having.values())]
    if len(models) < 2:
        return {"why_not": "ranks over data sets need two models that all data sets have"}
    ranks = {dataset: rankdata([each[model] for model in models]) for dataset, each in having.items()}
    means = {model: statistics.fmean(each[place] for each in ranks.values()) for place, model in enumerate(models)}
    ranked = sorted(means, key=lambda model: means[model])
    k, n = len(models), len(having)
    width = float(studentized_range.ppf(1 - LEVEL, k, math.inf)) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n))
    pairs = [{"models": [a, b], "differ": means[b] - means[a] > width} for a, b in combinations(ranked, 2)]
    columns = [[each[model] for each in having.values()] for model in models]
    return {
        "datasets": list(having),
        "ranks": {model: means[model] for model in ranked},
        "p": float(friedmanchisquare(*columns).pvalue) if k > 2 else None,
        "critical_difference": width,
        "groups": groups(ranked, pairs),
    }


def standings(tested: Mapping[str, Tested], metric: Metric) -> list[dict[str, Any]]:
    """Compute mean ranks and improvabilities of models over data sets, best rank first.

    Only models that all data sets have are compared. The improvability is 1 − error of the best model of a data set /
    error: the share of a model's error that another model avoids. The intervals are of bootstrap draws. Each draws data
    sets with replacement, and one resample of the test rows of each. Returns nothing for one data set or one model.
    """
    from scipy.stats import rankdata  # takes time to import

    having = {dataset: of_models for dataset, of_models in tested.items() if of_models}
    models = [model for model in next(iter(having.values()), ()) if all(model in each for each in having.values())]
    if min(len(having), len(models)) < 2:
        return []
    num_draws = min(len(each[model][1]) for each in having.values() for model in models)
    ranks, shares = [], []  # of each data set: first of the figures themselves, then of each resample
    for each in having.values():
        rows = [np.append(statistics.fmean(each[model][0]), each[model][1][:num_draws]) for model in models]
        errors = metric.error(np.stack(rows, axis=1))
        ranks.append(rankdata(errors, axis=1))
        shares.append(np.where(errors > 0, 1 - errors.min(axis=1, keepdims=True) / np.maximum(errors, 1e-300), 0.0))
    drawn = np.random.default_rng(seed_for(0, "standings", *having)).integers(
        len(having), size=(num_draws, len(having))
    )
    resample = 1 + np.arange(num_draws)[:, None]
    found: list[dict[str, Any]] = [{"model": model} for model in models]
    for name, figures in (("rank", np.stack(ranks)), ("improvability", np.stack(shares))):
        means = figures[drawn, resample].mean(axis=1)  # [draws, models]
        for place, row in enumerate(found):
            row[name] = float(figures[:, 0, place].mean())
            row[f"{name}_interval"] = interval(means[:, place])
    return sorted(found, key=lambda row: row["rank"])
