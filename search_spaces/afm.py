"""Define the search space of `afm`, with `ifm`'s ranges for the feature aspect."""

from search_spaces.shared import ATTENTIONAL_FM, PAPER_ATTENTIONAL_FM

SPACE = ATTENTIONAL_FM
PAPER = PAPER_ATTENTIONAL_FM
