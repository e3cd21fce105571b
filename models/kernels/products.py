"""Multiply dense matrices for hidden layers and for a first layer on concatenated embeddings."""

# pyright: reportIncompatibleMethodOverride=false
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable
from torch.nn.functional import pad

from models.kernels.features import Embeddings, field_sum, spread

MULTIPLE = 256  # pad matrices with zero rows to a multiple of this: oneDNN makes a new program for each new shape


def onednn_keeps_float32() -> bool:
    """Return whether oneDNN multiplies float32 exactly where bfloat16 is allowed. It does on a CPU without AMX."""
    return torch.backends.mkldnn.is_available() and not torch.cpu._is_amx_tile_supported()


PREFER_ONEDNN = onednn_keeps_float32()


def matmul(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """Compute a @ b, into `out` if given.

    Torch uses oneDNN only if bfloat16 is allowed. On a CPU with AVX-512 oneDNN is faster, and without AMX as exact. It
    is slower for small products and for shapes that keep changing.
    """
    if not PREFER_ONEDNN or a.dtype != torch.float32 or a.numel() * b.shape[1] < 1 << 22:
        return torch.mm(a, b, out=out)
    settings: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before, settings.fp32_precision = settings.fp32_precision, "bf16"
    try:
        return torch.mm(a, b, out=out)
    finally:
        settings.fp32_precision = before


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute x Wᵀ + b: x `[batch, inputs]`, weight `[units, inputs]` → `[batch, units]`."""
    return Linear.apply(x, weight, bias)  # type: ignore[no-any-return]


class Linear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return matmul(x, weight.T).add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        grad, (x, weight) = gradients[0], ctx.saved_tensors
        grad_x = matmul(grad, weight) if ctx.needs_input_grad[0] else None
        return grad_x, matmul(grad.T, x), grad.sum(0)


def pad_rows(a: Tensor) -> Tensor:
    """Add zero rows up to a multiple of `MULTIPLE`, but leave small matrices alone."""
    return a if len(a) < MULTIPLE else pad(a, (0, 0) * (a.dim() - 1) + (0, -len(a) % MULTIPLE))


def concatenated_linear(V: Embeddings, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute W [V_1 … V_n] + b, with each distinct W_i V_i once.

    It is Σ_i W_i V_i + b. If fields share features, the embeddings are written out. Shape: weight `[units, n K]` →
    `[batch, units]`.
    """
    if (sizes := V.where.num_features) is None:
        return linear(spread(V.table, V.where).flatten(1), weight, bias)
    return field_sum(Projection.apply(V.table, weight, sizes), V.where) + bias  # type: ignore[arg-type]


class Projection(Function):
    """Compute W_i V_i of the features of each field i, given their numbers."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, weight: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes = sizes
        ctx.save_for_backward(table, weight)
        out, W = table.new_empty(len(table), len(weight)), weight.split(table.shape[1], dim=1)  # n of [units, K]
        for V_i, W_i, result in zip(table.split(sizes), W, out.split(sizes), strict=True):
            padded_matmul(V_i, W_i.T, result)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        table, weight = ctx.saved_tensors
        grad_table, grad_weight = torch.empty_like(table), torch.empty_like(weight)
        W, grad_W = (w.split(table.shape[1], dim=1) for w in (weight, grad_weight))
        rows = (each.split(ctx.sizes) for each in (gradients[0], table, grad_table))
        for grad, V_i, grad_V_i, W_i, grad_W_i in zip(*rows, W, grad_W, strict=True):
            padded_matmul(grad, W_i, grad_V_i)
            matmul(pad_rows(grad).T, pad_rows(V_i), out=grad_W_i)
        return grad_table, grad_weight, None


def padded_matmul(a: Tensor, b: Tensor, out: Tensor) -> None:
    if len(a) < MULTIPLE:
        matmul(a, b, out)
    else:
        out.copy_(matmul(pad_rows(a), b)[: len(a)])
