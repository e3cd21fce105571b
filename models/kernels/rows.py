"""Compute pair-wise interactions row by row, for batches whose rows rarely share pairs.

Finding the distinct pairs and gathering their vectors would take longer than it saves. So the embeddings are written
out, `[n, batch, K]`, and multiplied one pair of fields at a time. Shapes as in `models.kernels.distinct_pairs`.
"""

# pyright: reportIncompatibleMethodOverride=false
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

from models.kernels.features import Occurrences
from models.kernels.products import matmul


class RowEffects(Function):
    """Compute `models.kernels.pairs.pair_effects` from the table `[u, K]` of the batch's embeddings."""

    @staticmethod
    def forward(
        ctx: Any,
        table: Tensor,
        W: Tensor,
        b: Tensor,
        h: Tensor,
        M: Tensor,
        where: Occurrences,
        fields: tuple[tuple[int, int], ...],
        kept: Callable[[int], Tensor] | None,
        scale: float,
        learns: bool,
    ) -> tuple[Tensor, Tensor]:
        (batch, n), P, d = where.index.shape, len(fields), M.shape[1]
        V = table.index_select(0, where.index.T.flatten()).view(n, batch, -1)
        logits, effects = table.new_empty(P, batch), table.new_empty(P, batch, d)
        active, masks = [], []
        for p, (i, j) in enumerate(fields):
            products = V[i] * V[j]
            hidden = matmul(products, W).add_(b).relu_()
            torch.mv(hidden, h, out=logits[p])
            if learns:  # ctx.needs_input_grad is true in a prediction too
                active.append(torch.gt(hidden, 0, out=hidden).to(torch.int8))
            if kept:
                masks.append(kept(1)[0])
                products.mul_(masks[-1])
            if d == 1:
                torch.sum(products.mul_(M[p]), 1, keepdim=True, out=effects[p])
            else:
                torch.mm(products, M[p].T, out=effects[p])
        ctx.where, ctx.fields, ctx.active, ctx.masks, ctx.scale = where, fields, active, masks, scale
        ctx.save_for_backward(V, W, b, h, M)
        return logits.T, effects.mul_(scale).transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        V, W, b, h, M = ctx.saved_tensors
        grad_logits, grad_effects = gradients[0].T[..., None], gradients[1].transpose(0, 1) * ctx.scale
        W_h, grad_hidden_W, grad_hidden_b = (W * h).T, torch.zeros_like(W), torch.zeros_like(b)
        grad_V, grad_M, met = torch.empty_like(V), torch.empty_like(M), set()
        for p, (i, j) in enumerate(ctx.fields):
            products = V[i] * V[j]
            hidden = ctx.active[p] * grad_logits[p]
            grad_hidden_b += hidden.sum(0)
            if ctx.masks:
                grad_hidden_W += matmul(hidden.T, products).T
                grad = matmul(hidden, W_h)
                grad_M[p] = add_effects_gradient(grad, products, M[p], grad_effects[p], ctx.masks[p])
            else:  # compute the effects as more columns of the attention's first layer
                columns = torch.cat([hidden, grad_effects[p]], 1)
                grad_W, grad_M[p] = matmul(columns.T, products).split([W.shape[1], M.shape[1]])
                grad_hidden_W += grad_W.T
                grad = matmul(columns, torch.cat([W_h, M[p]]))
            for field, other in ((i, j), (j, i)):
                if field in met:
                    grad_V[field].addcmul_(grad, V[other])
                else:
                    torch.mul(grad, V[other], out=grad_V[field])
                met.add(field)
        for field in set(range(len(V))) - met:
            grad_V[field] = 0
        # With r the ReLU's derivative, 0 or 1, the logit is Σ_k h_k r_k (W_k · products + b_k).
        grad_h = (grad_hidden_W * W).sum(0) + grad_hidden_b * b
        grad_table = ctx.where.places_by_field.sum(grad_V.flatten(0, 1))
        return grad_table, grad_hidden_W * h, grad_hidden_b * h, grad_h, grad_M, None, None, None, None, None


def add_effects_gradient(grad: Tensor, products: Tensor, M: Tensor, grad_effects: Tensor, mask: Tensor) -> Tensor:
    """Propagate the effects' gradient `[batch, d]` through dropout to products and M.

    Adds to `grad` `[batch, K]`, the products' gradient, and returns M's gradient `[d, K]`. Overwrites `products`.
    """
    if len(M) == 1:
        of_products = mask * grad_effects
        grad.addcmul_(of_products, M)
        return products.mul_(of_products).sum(0, keepdim=True)
    grad += (grad_effects @ M).mul_(mask)
    return grad_effects.T @ products.mul_(mask)
