"""Measure how strongly a trained model lets two fields act together.

f is the logit, a a row, b another row, and a|i the row a with field i from b. f(a) − f(a|i) − f(a|j) + f(a|ij) is what
fields i and j do together: zero where f is a sum of what each does alone. Its root mean square over rows measures the
pair, for any model.
"""

import dataclasses
from collections.abc import Collection, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from pipelines.data.rows import Rows
from pipelines.training.predicting import compute_logits

NUM_ROWS = 512
MOST_FIELDS = 32  # with more, the pairs are too many


def interactions(model: nn.Module, rows: Rows, fields: Sequence[str], seed: int) -> dict[str, float]:
    """Measure each pair of fields on some rows, by the name FIELD-FIELD; none of too many fields."""
    if len(fields) > MOST_FIELDS:
        return {}
    some = rows.sample(NUM_ROWS, seed)
    order = torch.randperm(len(some), generator=torch.Generator().manual_seed(seed))

    def logits(swapped: Collection[int]) -> Tensor:
        tensors = {}
        for name in ("features", "values"):
            if (tensor := getattr(some, name)) is not None:
                mixed = tensor.clone()
                mixed[:, list(swapped)] = tensor[order][:, list(swapped)]
                tensors[name] = mixed
        return compute_logits(model, dataclasses.replace(some, **tensors), kernels=False).double()

    whole, alone = logits(()), [logits((field,)) for field in range(len(fields))]
    return {
        f"{fields[i]}-{fields[j]}": float((whole - alone[i] - alone[j] + logits((i, j))).square().mean().sqrt())
        for i, j in combinations(range(len(fields)), 2)
    }
