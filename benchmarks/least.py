"""Compute the least seconds that a batch can take on this machine.

Compares the FLOPs and bytes of a batch with the rates of products and copies. Counts the kernels, forward and backward,
with each distinct feature and pair of features once. B rows, n fields, P pairs of fields, u distinct features, q
distinct pairs; K = embed_dim, A = attention_dim, H units of a hidden layer, d numbers that a pair gives (1, in INN H).
A multiplication and an addition are a FLOP each.

    FLOPs
    fm part         4 B n K + 4 B K + 3 u K      sums over the fields, of V and V², and of their gradients
    MLP on V        6 u K H + 2 B n H            W_i V_i of each feature, and their sums; backward twice as much
    MLP, other      6 B in out
    attention       6 q K A + 6 q A              W (V_i ⊙ V_j), its two gradients; hᵀ
    pairs           5 q K                        products, and the sums of their gradients by feature
    effects         6 q K d                      M (V_i ⊙ V_j), its two gradients
       with dropout 6 B P K d + 4 B P K          each row has its own masks; three products with them, and a sum
    Adagrad         6 for each weight with a gradient

    bytes
    weights         5 · 4 for each weight with a gradient: the model reads it, then the optimizer reads and writes it
                    with its accumulator; the gradient may stay in the cache
    attention       2 q A                        where ReLU is zero, a byte each, kept for the gradient
    dropout         2 B P K                      the masks, a byte each

Linear terms, batch norm and finding the distinct features and pairs are left out.
"""

import time
from collections.abc import Callable, Iterable
from math import comb
from typing import Any, NamedTuple

import torch
from sides.timing import HIDDEN_DIMS

from models.kernels.distinct_pairs import Pairs
from models.kernels.products import matmul
from models.layers.batch import Batch

WITH_ATTENTION = ("afm", "ifm", "inn", "deepifm")
SAMPLED_BATCHES = 20  # u and q are means over these
MIB = 2**20


class BatchWork(NamedTuple):
    """Hold a mean batch's sizes: rows, fields, pairs of fields, distinct features and pairs."""

    B: float
    n: int
    P: int
    u: float
    q: float


def count(features: torch.Tensor, batch_size: int) -> BatchWork:
    """Measure a batch's sizes; u and q are means over random batches."""
    n = features.shape[1]
    fields = tuple((i, j) for i in range(n) for j in range(i + 1, n))
    order = torch.randperm(len(features))[: SAMPLED_BATCHES * batch_size]
    found = [Batch(features[rows]).where for rows in order.split(batch_size)]
    u = sum(len(where.ids) for where in found) / len(found)
    q = sum(len(Pairs(where, fields, False).left) for where in found) / len(found)
    return BatchWork(batch_size, n, comb(n, 2), u, q)


def needs(model: str, dropout: float, size: BatchWork, K: int, A: int, num_features: int) -> dict[str, float]:
    """Count a batch's FLOPs and bytes, and the bytes of weights with accumulators.

    The key `memory` also includes what is kept for the gradient.
    """
    B, n, P, u, q = size
    H = HIDDEN_DIMS.get(model, (0,))[0]
    flops, kept = 0.0, 0.0
    row = n * K if model == "ffm" else K
    dense = {"deepfm": n * K * H, "deepifm": n * K * H, "nfm": K * H, "inn": P * K * H}.get(model, 0) + 2 * H
    if model in ("fm", "deepfm", "nfm"):
        flops += 4 * B * n * K + 4 * B * K + 3 * u * K
    if model in ("deepfm", "deepifm"):
        flops += 6 * u * K * H + 2 * B * n * H + 6 * B * H
    if model == "nfm":
        flops += 6 * B * K * H + 6 * B * H
    if model in (*WITH_ATTENTION, "ffm"):
        d = H if model == "inn" else 1
        flops += 5 * q * K + (6 * B * P * K * d + 4 * B * P * K if dropout else 6 * q * K * d)
        kept += 2 * B * P * K if dropout else 0
    if model in WITH_ATTENTION:
        flops += 6 * q * K * A + 6 * q * A
        dense += K * A + 2 * A
        kept += 2 * q * A
    touched = u * row + dense
    return {
        "flops": flops + 6 * touched,
        "bytes": 20 * touched + kept,
        "memory": 8 * (num_features * row + dense) + kept,
    }


def best_seconds(work: Callable[[], object]) -> float:
    """Run the work often, and return the least seconds."""
    times = []
    while len(times) < 5 or sum(times) < 0.2:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def matmul_rate() -> float:
    """Measure the kernels' matrix product in FLOPs a second."""
    a, b = torch.randn(2048, 256), torch.randn(256, 256)
    return 2 * 2048 * 256 * 256 / best_seconds(lambda: matmul(a, b))


def copy_rate(size: int) -> float:
    """Measure a copy whose two sides take `size` bytes together, in bytes a second. Counts bytes read and written."""
    source, target = torch.ones(2, size // 8)
    return size / best_seconds(lambda: target.copy_(source))


def hardware(counts: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Measure, for each number of threads, the product rate and the copy rates by MiB."""
    rates: dict[int, dict[str, Any]] = {}
    for threads in counts:
        torch.set_num_threads(threads)
        rates[threads] = {"matmul": matmul_rate(), "copy": {2**i: copy_rate(2**i * MIB) for i in range(2, 10)}}
    return rates


def least(need: dict[str, float], memory: float, rates: dict[str, Any]) -> dict[str, float]:
    """Return a batch's seconds by FLOPs and by bytes, and the larger of both."""
    mib = min((size for size in rates["copy"] if size * MIB >= memory), default=max(rates["copy"]))
    by_flops, by_bytes = need["flops"] / rates["matmul"], need["bytes"] / rates["copy"][mib]
    return {"by_flops": by_flops, "by_bytes": by_bytes, "least": max(by_flops, by_bytes)}
