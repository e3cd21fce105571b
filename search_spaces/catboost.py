"""Define the search space of `catboost`.

PAPER has the defaults of CatBoost 1.2 (`get_all_params()`); the learning rate is its own where it isn't derived from
the data. The ranges are around these.
"""

from optuna.distributions import FloatDistribution, IntDistribution

SPACE = {
    "training.learning_rate": FloatDistribution(0.01, 0.3, log=True),
    "model.depth": IntDistribution(3, 10),
    "model.leaf_l2": FloatDistribution(0.5, 30.0, log=True),
    "model.random_strength": FloatDistribution(0.0, 10.0),
    "model.subsample": FloatDistribution(0.4, 1.0),
    "model.max_ctr_complexity": IntDistribution(1, 4),
}
PAPER = {
    "training.learning_rate": 0.03,
    "model.depth": 6,
    "model.leaf_l2": 3.0,
    "model.random_strength": 1.0,
    "model.subsample": 0.8,
    "model.max_ctr_complexity": 4,
}
