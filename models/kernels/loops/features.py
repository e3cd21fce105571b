"""Loop over the features of a batch: find, gather and sum them.

Numba's assignment to a slice takes four times as long as a loop.
"""

import numpy as np

from models.kernels.code_cache import compiled


@compiled
def group(values, bound):
    """Find the distinct values, ascending, and the places of each, by counting.

    Takes values `[N]` below `bound`; returns distinct `[u]`, index `[N]` into it, order `[N]` and offsets `[u]`.
    """
    seen = np.zeros((bound + 7) // 8 * 8, np.uint8)
    for value in values:
        seen[value] = 1
    rank = np.empty(bound, np.int32)
    distinct = np.empty(min(len(values), bound), np.int64)
    u = 0
    words = seen.view(np.uint64)
    for word in range(len(words)):
        if words[word]:
            for value in range(8 * word, 8 * word + 8):
                if seen[value]:
                    rank[value] = u
                    distinct[u] = value
                    u += 1
    index, order, ends = np.empty(len(values), np.int64), np.empty(len(values), np.int64), np.zeros(u + 1, np.int64)
    for place in range(len(values)):
        index[place] = rank[values[place]]
        ends[index[place] + 1] += 1
    for i in range(u):
        ends[i + 1] += ends[i]
    offsets = ends[:u].copy()
    for place in range(len(values)):
        order[ends[index[place]]] = place
        ends[index[place]] += 1
    return distinct[:u].copy(), index, order, offsets


@compiled
def gather(start, stop, weight, rows, out):
    """Copy rows `[u]` of weight `[m, K]` to out `[u, K]`."""
    for i in range(start, stop):
        row, copy = weight[rows[i]], out[i]
        for k in range(len(row)):
            copy[k] = row[k]


@compiled
def bi_interaction(start, stop, table, index, total, out):
    """Compute Σ_{i<j} V_i ⊙ V_j and Σ_i V_i of each row: table `[u, K]`, index `[B, n]` → `[B, K]` each."""
    n = index.shape[1]
    for r in range(start, stop):
        sums, pooled = total[r], out[r]
        for k in range(len(sums)):
            sums[k] = 0
            pooled[k] = 0
        for i in range(0, n - 3, 4):  # four at a time, so that sums are seldom read and written
            A, B, C, D = table[index[r, i]], table[index[r, i + 1]], table[index[r, i + 2]], table[index[r, i + 3]]
            for k in range(len(sums)):
                before_B = sums[k] + A[k]
                before_C = before_B + B[k]
                before_D = before_C + C[k]
                pooled[k] += sums[k] * A[k] + before_B * B[k] + before_C * C[k] + before_D * D[k]
                sums[k] = before_D + D[k]
        for i in range(n - n % 4, n):
            V = table[index[r, i]]
            for k in range(len(sums)):
                pooled[k] += sums[k] * V[k]
                sums[k] += V[k]


@compiled
def bi_interaction_gradient(start, stop, table, total, grad, order, offsets, n, out):
    """Compute Σ_r g_r ⊙ (Σ_j V_j − V_i) of each feature over its rows r.

    Shape: grad `[B, K]`, or `[B, 1]` if it is the same for all k → `[u, K]`.
    """
    for i in range(start, stop):
        V, result = table[i], out[i]
        at, last = offsets[i], offsets[i + 1] if i + 1 < len(offsets) else len(order)
        for k in range(len(V)):
            result[k] = 0
        if grad.shape[1] == 1:
            weight = grad.dtype.type(0)
            while at + 4 <= last:  # four at a time, so that the result is seldom read and written
                q, r, s, t = order[at] // n, order[at + 1] // n, order[at + 2] // n, order[at + 3] // n
                a, b, c, d = grad[q, 0], grad[r, 0], grad[s, 0], grad[t, 0]
                A, B, C, D = total[q], total[r], total[s], total[t]
                weight += a + b + c + d
                for k in range(len(V)):
                    result[k] += a * A[k] + b * B[k] + c * C[k] + d * D[k]
                at += 4
            while at < last:
                g, sums = grad[order[at] // n, 0], total[order[at] // n]
                weight += g
                for k in range(len(V)):
                    result[k] += g * sums[k]
                at += 1
            for k in range(len(V)):
                result[k] -= weight * V[k]
        else:
            for place in order[at:last]:
                g, sums = grad[place // n], total[place // n]
                for k in range(len(V)):
                    result[k] += g[k] * (sums[k] - V[k])


@compiled
def sum_terms(weight, rows, index, out):
    """Sum weight `[m]` at rows `[u]` over the features of each row of the batch: index `[B, n]` → `[B]`."""
    for r in range(len(index)):
        total = weight.dtype.type(0)
        for i in index[r]:
            total += weight[rows[i]]
        out[r] = total


@compiled
def sum_terms_gradient(grad, order, offsets, n, out):
    """Sum grad `[B]` over the rows of each feature, `[u]`."""
    for i in range(len(offsets)):
        total = grad.dtype.type(0)
        last = offsets[i + 1] if i + 1 < len(offsets) else len(order)
        for place in order[offsets[i] : last]:
            total += grad[place // n]
        out[i] = total
