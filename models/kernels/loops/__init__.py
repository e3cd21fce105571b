"""Loop over the rows and features of a batch, compiled for the CPU.

Functions take NumPy arrays and write into them. Those that take `start` and `stop` compute a part, so that threads can
share the work; a sum over the rows of a feature is in one part and in the order of rows, whatever the number of
threads. Shapes as in `models.kernels.features`; N places, B batch.
"""

from models.kernels.loops.attention import (
    mask_products,
    pool_products,
    pool_products_gradient,
    pool_products_weights_gradient,
    relu_dot,
    relu_dot_gradient,
    sum_masked,
    sum_of_pairs,
    weigh,
    weigh_gradient,
    weigh_masked,
    weigh_masked_gradient,
)
from models.kernels.loops.features import (
    bi_interaction,
    bi_interaction_gradient,
    gather,
    group,
    sum_terms,
    sum_terms_gradient,
)
from models.kernels.loops.optimizers import (
    adagrad,
    ftrl,
    lazy_adam,
    settle,
)
from models.kernels.loops.pairs import (
    find_pairs,
    order_of,
    pair_dots,
    pair_dots_gradient,
    pair_products,
    pair_products_gradient,
    sum_over_pairs,
    sum_over_rows,
)
from models.kernels.loops.trees import sum_leaves

__all__ = [
    "adagrad",
    "bi_interaction",
    "bi_interaction_gradient",
    "find_pairs",
    "ftrl",
    "gather",
    "group",
    "lazy_adam",
    "mask_products",
    "order_of",
    "pair_dots",
    "pair_dots_gradient",
    "pair_products",
    "pair_products_gradient",
    "pool_products",
    "pool_products_gradient",
    "pool_products_weights_gradient",
    "relu_dot",
    "relu_dot_gradient",
    "settle",
    "sum_leaves",
    "sum_masked",
    "sum_of_pairs",
    "sum_over_pairs",
    "sum_over_rows",
    "sum_terms",
    "sum_terms_gradient",
    "weigh",
    "weigh_gradient",
    "weigh_masked",
    "weigh_masked_gradient",
]
