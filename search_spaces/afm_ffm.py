"""Use the search space of `afm` for `afm_ffm`: the paper gives no setting."""

from search_spaces.shared import ATTENTIONAL_FM, PAPER_ATTENTIONAL_FM

SPACE = ATTENTIONAL_FM
PAPER = PAPER_ATTENTIONAL_FM
