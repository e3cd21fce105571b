"""Check which settings of a search are said to have mattered."""

import numpy as np
import polars as pl
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from pipelines.evaluation.importances import LEAST_TRIALS, setting_importances
from pipelines.project.metric import METRICS

SPACE = {
    "training.learning_rate": FloatDistribution(1e-3, 1.0, log=True),
    "model.dropout": FloatDistribution(0.0, 1.0),
    "model.kind": CategoricalDistribution(("a", "b")),
}


def trials(num=30, worst=0.0):
    """Make trials of which only the learning rate decides."""
    rng = np.random.default_rng(1)
    rate = 10 ** rng.uniform(-3, 0, num)
    return pl.DataFrame(
        {
            "trial": range(num),
            "state": ["complete"] * num,
            "valid": np.abs(np.log10(rate) + 1.5) + worst,
            "training.learning_rate": rate,
            "model.dropout": rng.uniform(0, 1, num),
            "model.kind": rng.choice(["a", "b"], num),
        }
    )


@pytest.mark.parametrize("metric", ["rmse", "auc"])
def test_the_setting_that_decides_is_the_most_important_and_the_same_trials_give_the_same(metric):
    table = trials() if metric == "rmse" else trials().with_columns(valid=1 - pl.col("valid") / 4)
    found = setting_importances(table, SPACE, METRICS[metric])
    assert next(iter(found)) == "training.learning_rate"
    assert found["training.learning_rate"] > 0.7
    assert sum(found.values()) == pytest.approx(1)
    assert found == setting_importances(table, SPACE, METRICS[metric])
    assert all(share == round(share, 9) for share in found.values())  # Optuna's last digits vary between runs


def test_few_trials_say_nothing():
    assert setting_importances(trials(LEAST_TRIALS - 1), SPACE, METRICS["rmse"]) == {}


def test_trials_without_a_result_or_outside_of_the_space_are_left_out():
    table = trials()
    pruned = table.with_columns(state=pl.when(pl.col("trial") < 26).then(pl.lit("pruned")).otherwise("state"))
    assert setting_importances(pruned, SPACE, METRICS["rmse"]) == {}
    outside = table.with_columns(pl.col("training.learning_rate") + 5)
    assert setting_importances(outside, SPACE, METRICS["rmse"]) == {}


def test_a_key_that_is_fixed_or_gone_from_the_space_does_not_count():
    table = trials().with_columns(pl.lit(0.5).alias("model.dropout"))
    assert "model.dropout" not in setting_importances(table, SPACE, METRICS["rmse"])
    space = {key: SPACE[key] for key in ("training.learning_rate", "model.dropout")}
    assert "model.kind" not in setting_importances(trials(), space, METRICS["rmse"])
