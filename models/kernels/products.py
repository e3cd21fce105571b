"""Multiply dense matrices for hidden layers and for a first layer on concatenated embeddings."""

# pyright: reportIncompatibleMethodOverride=false
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable
from torch.nn.functional import pad

from models.kernels.features import Embeddings, Groups, Occurrences, field_sum

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

    It is Σ_i W_i V_i + b. Shape: weight `[units, n K]` → `[batch, units]`.
    """
    return field_sum(Projection.apply(V.table, weight, V.where), by_field(V.where)) + bias  # type: ignore[arg-type]


class Projection(Function):
    """Compute W_i V_i of the features of each field i, field after field."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, weight: Tensor, where: Occurrences) -> Tensor:
        ctx.where = where
        ctx.save_for_backward(table, weight)
        W = weight.split(table.shape[1], dim=1)  # n of [units, K]
        blocks = [pad_rows(table[low:high]) for low, high in where.spans]
        sizes = [high - low for low, high in where.spans]
        return torch.cat([matmul(a, W_i.T)[:size] for a, W_i, size in zip(blocks, W, sizes, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        table, weight = ctx.saved_tensors
        grad_table, grad_weight, start = torch.zeros_like(table), torch.empty_like(weight), 0
        W, grad_W = (w.split(table.shape[1], dim=1) for w in (weight, grad_weight))
        for (low, high), W_i, grad_W_i in zip(ctx.where.spans, W, grad_W, strict=True):
            size = high - low
            grad = pad_rows(gradients[0][start : start + size])
            grad_table[low:high] += matmul(grad, W_i)[:size]
            matmul(grad.T, pad_rows(table[low:high]), out=grad_W_i)
            start += size
        return grad_table, grad_weight, None


def by_field(where: Occurrences) -> Occurrences:
    """Renumber features so that the features of each field have their own range.

    Returns `where` unchanged if no two fields share a feature.
    """
    start, shift = 0, []
    for low, high in where.spans:
        shift.append(start - low)
        start += high - low
    if not any(shift):
        return where
    index = where.index + torch.tensor(shift, device=where.index.device)
    in_order, order = index.flatten().sort(stable=True)
    ids = torch.arange(start, device=index.device)  # some may not occur
    return Occurrences(ids, index, Groups(order, torch.searchsorted(in_order, ids)))
