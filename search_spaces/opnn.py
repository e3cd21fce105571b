"""The search space of `opnn`, the same as of the other product-based networks."""

from search_spaces.shared import PAPER_PRODUCT_NN, PRODUCT_NN

SPACE = PRODUCT_NN
PAPER = PAPER_PRODUCT_NN
