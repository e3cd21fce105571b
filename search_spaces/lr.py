"""Define the search space of `lr`."""

from search_spaces.shared import PAPER_TRAINING, TRAINING

SPACE = TRAINING
PAPER = PAPER_TRAINING
