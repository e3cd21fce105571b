"""Define the search space of `popularity`, which no paper has: PAPER is the model's default."""

from search_spaces.shared import SMOOTHING

SPACE = {"model.smoothing": SMOOTHING}
PAPER = {"model.smoothing": 10.0}
