"""Define the popularity of features, a baseline."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.means import FeatureMeans, Output
from models.registry import register_model


@register_model
class Popularity(nn.Module):
    """Predict the mean label and one effect for each feature.

    ŷ = μ + Σ_i b_i x_i, where b_i = n_i / (n_i + λ) times the mean of what is left of the labels of feature i's n_i
    rows; λ is the `smoothing`. It shows what features alone are worth, without any pair: of a log whose negatives
    replace the item, mostly how popular an item is. It is fitted in closed form, field after field.
    """

    family = "baseline"

    def __init__(self, field_dims: Sequence[int], *, smoothing: float = 10.0) -> None:
        super().__init__()
        self.features, self.output = FeatureMeans(field_dims, smoothing), Output()

    @torch.no_grad()
    def fit(self, batch: Batch, labels: Tensor, loss: str) -> None:
        self.features.fit(batch, labels)
        self.output.fit(loss)

    def forward(self, batch: Batch) -> Tensor:
        return self.output(self.features(batch))
