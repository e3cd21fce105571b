"""Compute products, attention logits and effects once for each distinct pair of a batch.

Pairs are taken in chunks of some pairs of fields. So nothing of shape [batch, pair, K] is made, except the masks of
dropout, with one byte for each element. Shapes as in `models.kernels.distinct_pairs`.
"""

# pyright: reportIncompatibleMethodOverride=false
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

from models.kernels.calls import call, in_parts, loops
from models.kernels.distinct_pairs import Fields, Kept, Pairs, pairs_of
from models.kernels.features import Embeddings, gradient_of
from models.kernels.products import matmul


def pair_effects(
    V: Embeddings,
    fields: Fields,
    M: Tensor,
    kept: Kept | None,
    scale: float,
    attention: tuple[Tensor, Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute the attention logit and the effects of each row's pairs.

    Logits are hᵀ Relu(W (V_i ⊙ V_j) + b), effects M_ij (V_i ⊙ V_j) with dropout on the products. `kept` draws what
    dropout keeps, and `scale` multiplies that.
    Shape: attention W `[K, K_a]`, b and h `[K_a]` (None: logits of zero); M `[P, d, K]` → `[batch, P]`,
    `[batch, P, d]`.
    """
    W, b, h = attention or (M.new_zeros(M.shape[-1], 0), M.new_zeros(0), M.new_zeros(0))
    rest = kept, scale, torch.is_grad_enabled()
    return PairEffects.apply(V.table, W, b, h, M, pairs_of(V, fields), *rest)  # type: ignore[no-any-return]


def pair_logits(V: Embeddings, fields: Fields, attention: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Compute only the logits of `pair_effects`, `[batch, P]`."""
    no_effects = V.table.new_zeros(len(fields), 1, V.table.shape[-1])
    return pair_effects(V, fields, no_effects, None, 1.0, attention)[0]


class PairEffects(Function):
    @staticmethod
    def forward(
        ctx: Any,
        table: Tensor,
        W: Tensor,
        b: Tensor,
        h: Tensor,
        M: Tensor,
        pairs: Pairs,
        kept: Kept | None,
        scale: float,
        learns: bool,
    ) -> tuple[Tensor, Tensor]:
        (P, batch), d = pairs.index.shape, M.shape[1]
        logits, effects, M = table.new_empty(len(pairs.left)), table.new_empty(P, batch, d), M.contiguous()
        active, masks = [], []
        # Each pair gets d numbers for each field pair of its chunk: keep this work below the attention network's.
        chunks = pairs.chunks(max(W.shape), most_fields=max(1, 64 // d))
        for chunk in chunks:
            products = chunk.products(table)
            hidden = matmul(products, W)
            # ctx.needs_input_grad is true in a prediction too
            active.append(torch.empty(hidden.shape if learns else (0, 0), dtype=torch.int8))
            arguments = hidden, b, h, chunk.of_pairs(logits), active[-1]
            in_parts(loops().relu_dot, chunk.size, hidden.numel(), *arguments)
            masks.append(chunk.effects(products, M, kept, out=effects))
        ctx.pairs, ctx.chunks, ctx.active, ctx.masks, ctx.scale = pairs, chunks, active, masks, scale
        ctx.save_for_backward(table, W, b, h, M)
        return logits[pairs.index].T, effects.mul_(scale).transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        table, W, b, h, M = ctx.saved_tensors
        grad_table, grad_M = torch.zeros_like(table), torch.zeros_like(M)
        grad_effects = gradients[1].transpose(0, 1).contiguous() * ctx.scale  # [P, batch, d]
        grad_logits = gradients[0].T.contiguous()[..., None]
        W_h, grad_hidden_W, grad_hidden_b = (W * h).T, torch.zeros_like(W), torch.zeros_like(b)
        for chunk, active, masks in zip(ctx.chunks, ctx.active, ctx.masks, strict=True):
            products = chunk.products(table)
            hidden = table.new_zeros(active.shape)  # zero in padding rows
            of_pairs = chunk.sum_rows(grad_logits)[:, 0]
            in_parts(loops().relu_dot_gradient, chunk.size, hidden.numel(), active, of_pairs, hidden)
            grad_hidden_W += matmul(products.T, hidden)
            grad_hidden_b += hidden.sum(0)
            grad = matmul(hidden, W_h)
            chunk.add_effects_gradient(grad, grad_M, grad_effects, products, M, masks)
            chunk.add_products_gradient(grad_table, grad[: chunk.size], table)
        # With r the ReLU's derivative, 0 or 1, the logit is Σ_k h_k r_k (W_k · products + b_k).
        grad_h = (grad_hidden_W * W).sum(0) + grad_hidden_b * b
        return grad_table, grad_hidden_W * h, grad_hidden_b * h, grad_h, grad_M, None, None, None, None


def pooled_dots(V: Embeddings, fields: Fields) -> Tensor:
    """Compute Σ_{i<j} ⟨V_i, V_j⟩ of each row, `[batch]`."""
    K = V.shape[-1] if V.shape else V.source[0].shape[-1]
    return PooledDots.apply(*V.source, pairs_of(V, fields), K)  # type: ignore[no-any-return]


class PooledDots(Function):
    """Compute ⟨V_i, V_j⟩ once for each distinct pair, from the embeddings where they are."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: Tensor | None, pairs: Pairs, K: int) -> Tensor:
        n, sides = weight[0].numel() // K, (pairs.left, pairs.right)
        ctx.sides = sides if rows is None else [rows[side // n] * n + side % n for side in sides]
        ctx.pairs, ctx.rows, ctx.K = pairs, rows, K
        ctx.save_for_backward(weight)
        dots, out = weight.new_empty(len(pairs.left)), weight.new_empty(pairs.index.shape[1])
        in_parts(loops().pair_dots, len(dots), len(dots) * K, weight.view(-1, K), *ctx.sides, dots)
        call(loops().sum_over_pairs, dots, pairs.index, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,), pairs, K = ctx.saved_tensors, ctx.pairs, ctx.K
        grad, out = weight.new_empty(len(pairs.left)), weight.new_zeros(pairs.num_rows, K)
        call(loops().sum_over_rows, gradients[0].contiguous(), pairs.index, grad)
        arguments = weight.view(-1, K), *ctx.sides, grad, pairs.left, pairs.right, out
        in_parts(loops().pair_dots_gradient, K, len(grad) * K, *arguments)
        return gradient_of(weight.shape, ctx.rows, out), None, None, None


def pooled_products(V: Embeddings, fields: Fields, T: Tensor | None, kept: Kept | None, scale: float) -> Tensor:
    """Compute Σ_{i<j} T_ij (V_i ⊙ V_j), with dropout on the products.

    T is `[batch, P]`, or None for ones; the result is `[batch, K]`.
    """
    if T is None:
        T = V.table.new_ones(()).expand(len(V.where.index), len(fields))
    return PooledProducts.apply(V.table, T, pairs_of(V, fields), kept, scale)  # type: ignore[no-any-return]


class PooledProducts(Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, T: Tensor, pairs: Pairs, kept: Kept | None, scale: float) -> Tensor:
        mask = kept(len(pairs.fields)).contiguous() if kept else torch.empty(0, 0, 0, dtype=torch.uint8)
        T, out = T.T.contiguous(), table.new_zeros(len(T), table.shape[-1])
        sides = pairs.left, pairs.right, pairs.index
        numbers = T.numel() * table.shape[-1]
        in_parts(loops().pool_products, len(out), numbers, table.flatten(0, -2), *sides, T, mask, out)
        ctx.pairs, ctx.mask, ctx.scale = pairs, mask, scale
        ctx.save_for_backward(table, T)
        return out.mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        (table, T), pairs, grad = ctx.saved_tensors, ctx.pairs, gradients[0] * ctx.scale
        grad_table, grad_T, numbers = torch.zeros_like(table), torch.empty_like(T), T.numel() * table.shape[-1]
        known = table.flatten(0, -2), pairs.left, pairs.right, pairs.index
        in_parts(loops().pool_products_weights_gradient, len(grad), numbers, *known, ctx.mask, grad, grad_T)
        rest = T, ctx.mask, grad, grad_table.flatten(0, -2)
        in_parts(loops().pool_products_gradient, table.shape[-1], numbers, *known, *rest)
        return grad_table, grad_T.T, None, None, None
