"""Estimate which settings of a search mattered, by Optuna's PED-ANOVA (Watanabe et al. 2023).

It compares how the settings of good trials are spread with how those of all trials are. It draws nothing at random.
Shares have nine decimals, as later ones vary between runs. Of few trials, shares are a hint, no more.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import polars as pl

from pipelines.project.metric import Metric
from search_spaces.shared import Space, contains

LEAST_TRIALS = 6  # complete ones
GOOD = 0.34  # the share of trials that count as good: of ten, three


def setting_importances(trials: pl.DataFrame, space: Space, metric: Metric) -> dict[str, float]:
    """Estimate the importance of each key of a search space, the greatest first; the sum is 1.

    Returns none where too few trials are complete, or where no key was varied. Trials outside of the space, as an older
    space had them, are left out.
    """
    import optuna  # takes time to import
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    varied = {key: space[key] for key in space if key in trials.columns and trials[key].n_unique() > 1}
    study = optuna.create_study()
    for row in trials.filter(state="complete").iter_rows(named=True):
        params = {key: row[key] for key in varied}
        if inside(params, varied):
            value = metric.score(row["valid"])
            study.add_trial(optuna.trial.create_trial(value=value, params=params, distributions=varied))
    if not varied or len(study.trials) < LEAST_TRIALS:
        return {}
    with warnings.catch_warnings(action="ignore"):  # that the evaluator is experimental
        evaluator = PedAnovaImportanceEvaluator(target_quantile=GOOD)
        found = get_param_importances(study, evaluator=evaluator, params=list(varied))
    shares = {key: round(share, 9) for key, share in found.items()}
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def inside(params: Mapping[str, Any], space: Space) -> bool:
    """Tell whether a space has these values."""
    return all(contains(space[key], value) for key, value in params.items())
