"""Define the search space of `lightgbm`.

PAPER has the defaults of LightGBM 4.7 (its page of parameters). The ranges are around these.
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

SPACE = {
    "training.learning_rate": FloatDistribution(0.01, 0.3, log=True),
    "model.num_leaves": IntDistribution(7, 511, log=True),
    "model.min_data_in_leaf": IntDistribution(1, 200, log=True),
    "model.leaf_l2": FloatDistribution(0.0, 10.0),
    "model.feature_fraction": FloatDistribution(0.4, 1.0),
    "model.bagging_fraction": FloatDistribution(0.4, 1.0),
    "model.cat_l2": FloatDistribution(0.1, 100.0, log=True),
    "model.cat_smooth": FloatDistribution(1.0, 100.0, log=True),
    "model.min_data_per_group": IntDistribution(1, 200, log=True),
    "model.encoding": CategoricalDistribution(("native", "means", "both")),
}
PAPER = {
    "training.learning_rate": 0.1,
    "model.num_leaves": 31,
    "model.min_data_in_leaf": 20,
    "model.leaf_l2": 0.0,
    "model.feature_fraction": 1.0,
    "model.bagging_fraction": 1.0,
    "model.cat_l2": 10.0,
    "model.cat_smooth": 10.0,
    "model.min_data_per_group": 100,
    "model.encoding": "native",
}
