"""Use the search space of the product-based networks for `ipnn`."""

from search_spaces.shared import PAPER_PRODUCT_NN, PRODUCT_NN

SPACE = PRODUCT_NN
PAPER = PAPER_PRODUCT_NN
