"""Define the look-up of pairs, a baseline."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.means import FeatureMeans, Output, column, effects, fitted
from models.registry import register_model

NO_PAIR = -1  # a key that no pair has: so a table is never empty


@register_model
class Lookup(nn.Module):
    """Look up the mean label of a pair, and back off to popularity.

    The pair is that of the first two fields, which should be user and item. With p the back-off, ŷ = p + b x_i x_j,
    where b = n / (n + λ) times the mean of y − p over the pair's n rows, and 0 for an unknown pair; λ is the
    `smoothing`. It shows what it is worth to know a pair again, without any generalisation from pair to pair.

    The back-off is for unknown pairs. By default it is fitted, as in `popularity`, on the rows whose pair occurs
    `once`, which without that row would be unknown (Good 1953). If negatives are drawn anew for each row while
    positives repeat, nearly all of these rows are negatives, and so are rows with unknown pairs. With `backoff`
    `all`, and where no pair occurs once, it is fitted on all rows: that is right where unknown pairs are as others, as
    on a split without known pairs.
    """

    family = "baseline"

    pairs: Tensor

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        smoothing: float = 0.1,
        feature_smoothing: float = 10.0,
        backoff: Literal["once", "all"] = "once",
    ) -> None:
        positive(smoothing=smoothing)
        super().__init__()
        self.features, self.output, self.smoothing = FeatureMeans(field_dims, feature_smoothing), Output(), smoothing
        self.num_features, self.backoff = sum(field_dims), backoff
        self.register_buffer("pairs", torch.tensor([NO_PAIR]))  # ascending
        self.effect = fitted(1)

    @staticmethod
    def decline(fields: Sequence[str]) -> str | None:
        return None if len(fields) > 1 else f"needs two fields, got {', '.join(fields)}"

    @torch.no_grad()
    def fit(self, batch: Batch, labels: Tensor, loss: str) -> None:
        self.pairs, group, counts = self.keys(batch).unique(return_inverse=True, return_counts=True)
        once = counts[group] == 1
        rows = once if self.backoff == "once" and once.any() else torch.ones_like(once)
        values = None if batch.values is None else batch.values[rows]
        self.features.fit(Batch(batch.ids[rows], values), labels[rows])
        left = labels.double() - self.features(batch)
        found = effects(group, self.products(batch), left, len(self.pairs), self.smoothing)
        self.effect = nn.Parameter(found.to(self.effect.dtype), requires_grad=False)
        self.output.fit(loss)

    def keys(self, batch: Batch) -> Tensor:
        """Give the pair of each row a number, `[batch]`."""
        return batch.ids[:, 0].long() * self.num_features + batch.ids[:, 1]

    def products(self, batch: Batch) -> Tensor:
        """Return x_i x_j of each row's pair, `[batch]`."""
        return column(batch, 0) * column(batch, 1)

    def forward(self, batch: Batch) -> Tensor:
        keys = self.keys(batch)
        place = torch.searchsorted(self.pairs, keys).clamp(max=len(self.pairs) - 1)
        known = self.pairs[place] == keys
        return self.output(self.features(batch) + known * self.effect[place] * self.products(batch))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """Make room for as many pairs as the saved weights have."""
        size = len(state_dict.get(f"{prefix}pairs", self.pairs))
        self.pairs = self.pairs.new_full((size,), NO_PAIR)
        self.effect = nn.Parameter(self.effect.new_zeros(size), requires_grad=False)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
