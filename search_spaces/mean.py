"""Define the search space of `mean`, which no paper has: PAPER is the model's default."""

from search_spaces.shared import SMOOTHING

SPACE = {"model.smoothing": SMOOTHING}
PAPER = {"model.smoothing": 1.0}
