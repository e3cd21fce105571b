"""Compute the loss that training minimises."""

from torch import Tensor, nn


def summed_loss(logits: Tensor, labels: Tensor, loss: str, weights: Tensor | None = None) -> Tensor:
    """Sum the loss over the batch: ½ Σ (ŷ − y)², or the cross-entropy. Each row counts by its weight.

    The L2 penalty is weighed against a sum over rows, as in the code released with the paper. Where logits are `[batch,
    k]`, of k members, a row's loss is the mean of theirs.
    """
    if logits.dim() == 2:
        k = logits.shape[1]
        weights = None if weights is None else weights.repeat_interleave(k)
        return summed_loss(logits.flatten(), labels.repeat_interleave(k), loss, weights) / k
    if weights is not None:
        squared = loss == "squared_error"
        each = 0.5 * (logits - labels).square() if squared else nn.functional.softplus(-labels * logits)
        return (weights * each).sum()
    if loss == "squared_error":
        return 0.5 * nn.functional.mse_loss(logits, labels, reduction="sum")
    return nn.functional.softplus(-labels * logits).sum()
