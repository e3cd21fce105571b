"""Define the search space of `poly2`. The paper's 10⁷ buckets are from the FFM paper."""

from optuna.distributions import CategoricalDistribution

from search_spaces.shared import PAPER_TRAINING, TRAINING

SPACE = {**TRAINING, "model.num_buckets": CategoricalDistribution((100_000, 1_000_000, 10_000_000))}
PAPER = {**PAPER_TRAINING, "model.num_buckets": 10_000_000}
