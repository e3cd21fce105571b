"""Compare models over data sets, by their ranks (Demšar 2006, Statistical Comparisons of Classifiers).

Friedman's test asks whether the mean ranks differ at all. Nemenyi's says by how much two must differ: the critical
difference. Each data set counts once, so few of them show little.
"""

import math
import statistics
from collections.abc import Mapping
from itertools import combinations
from typing import Any

from pipelines.evaluation.comparisons import LEVEL, groups

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
