"""Define the search space of `dnn`. The paper's setting is the one that its benchmark found on Frappe."""

from search_spaces.shared import DEEP, FRAPPE_DEEP

SPACE = DEEP
PAPER = FRAPPE_DEEP
