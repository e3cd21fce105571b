"""Define the degree-2 polynomial (Chang et al. 2010), hashed as by Juan et al. (2016)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import LinearTerms, Table
from models.layers.fields import why_no_pairs
from models.layers.pairs import field_pairs
from models.registry import register_model


@register_model
class Poly2(nn.Module):
    """Give each pair of features a weight, shared within a hash bucket.

    ŷ = w_0 + Σ_i w_i x_i + Σ_{i<j} w_{h(i,j)} x_i x_j, with h into `num_buckets` buckets.
    All weights start at zero. The hash and 10⁷ buckets are those of Juan et al. (2016, section 2).

    NOTE: Chang et al. also have squares x_i². For x_i of 0 or 1 these repeat the terms of degree 1, so they are left
    out. Juan et al. have the pairs alone.
    """

    family = "factorization machine"

    def __init__(self, field_dims: Sequence[int], *, num_buckets: int = 10_000_000) -> None:
        super().__init__()
        self.linear = LinearTerms(field_dims)
        self.embedding = PairWeights(num_buckets)

    decline = staticmethod(why_no_pairs)

    def forward(self, batch: Batch) -> Tensor:
        return self.linear(batch) + self.embedding(batch)


class PairWeights(Table):
    """Sum the weights of all pairs: Σ_{i<j} w_{h(i,j)} x_i x_j.

    The weights start at zero. Raises ValueError for a `num_buckets` that is not positive. Shape: → `[batch]`.
    """

    def __init__(self, num_buckets: int) -> None:
        positive(num_buckets=num_buckets)
        super().__init__(torch.zeros(num_buckets))

    def forward(self, batch: Batch) -> Tensor:
        if batch.bags or batch.padded:
            raise ValueError("poly2 hashes pairs of features, and a list is none: give each field one value a row")
        i, j = field_pairs(batch.num_fields)
        buckets = Batch(bucket(batch.ids[:, i], batch.ids[:, j], len(self.weight)), kernels=batch.kernels)
        weight = self.rows(buckets)  # [batch, P]
        return (weight if batch.values is None else weight * batch.values[:, i] * batch.values[:, j]).sum(-1)


def bucket(i: Tensor, j: Tensor, num_buckets: int) -> Tensor:
    """Hash a pair of features to a bucket, in either order.

    h(i, j) = (½ (i + j)(i + j + 1) + max(i, j)) mod num_buckets.
    """
    total = i.long() + j
    return (total * (total + 1) // 2 + torch.maximum(i, j)) % num_buckets
