"""Loop over the rows and features of a batch in compiled code, for the CPU.

Functions take NumPy arrays and write into them. Those that take `start` and `stop` compute a part, so that threads can
share the work; a sum over the rows of a feature is in one part and in the order of rows, whatever the number of
threads. Shapes as in `models.kernels.features`; N places, B batch.
"""

import math

import numpy as np

from models.kernels.code_cache import compiled, compiled_sums


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
        out[i] = weight[rows[i]]


@compiled
def bi_interaction(start, stop, table, index, total, out):
    """Compute Σ_{i<j} V_i ⊙ V_j and Σ_i V_i of each row: table `[u, K]`, index `[B, n]` → `[B, K]` each."""
    n = index.shape[1]
    for r in range(start, stop):
        sums, pooled = total[r], out[r]
        sums[:] = 0
        pooled[:] = 0
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
        result[:] = 0
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


@compiled
def settle(start, stop, rows, weight, total, steps, num_steps, lr, eps, l2):
    """Decay rows of Adagrad as often as steps have skipped them: weight and total `[m, K]`, steps `[m]`."""
    factor, decay = np.empty(weight.shape[1]), np.empty(weight.shape[1])
    for row in rows[start:stop]:
        left = num_steps - steps[row]
        if left > 0:
            steps[row] = num_steps
            w, t = weight[row], total[row]
            for k in range(len(w)):
                factor[k], decay[k] = 1 / (1 + lr * l2 / (np.sqrt(np.float64(t[k])) + eps)), 1
            while left:
                if left & 1:
                    for k in range(len(w)):
                        decay[k] *= factor[k]
                for k in range(len(w)):
                    factor[k] *= factor[k]
                left >>= 1
            for k in range(len(w)):
                w[k] = w[k] * decay[k]


@compiled
def adagrad(start, stop, rows, grad, weight, total, steps, num_steps, lr, eps, l2, composite):
    """Update rows by Adagrad: grad `[u, K]`, weight and total `[m, K]`; steps `[m]`, or `[0]` if nothing is late."""
    real = weight.dtype.type
    lr, eps, l2 = real(lr), real(eps), real(l2)
    decay, inside = (lr * l2, real(0)) if composite else (real(0), l2)
    for i in range(start, stop):
        w, t, gradient = weight[rows[i]], total[rows[i]], grad[i]
        for k in range(len(w)):
            g = gradient[k] + inside * w[k]
            t[k] += g * g
            w[k] -= lr * g / (np.sqrt(t[k]) + eps)
        if decay:
            for k in range(len(w)):
                w[k] /= 1 + decay / (np.sqrt(t[k]) + eps)
        if len(steps):
            steps[rows[i]] = num_steps


@compiled
def lazy_adam(start, stop, rows, grad, weight, first, second, num_steps, lr, beta_1, beta_2, eps, l2):
    """Update rows by Adam: grad `[u, K]`; weight and both moments `[m, K]`."""
    real = weight.dtype.type
    size, scale = real(lr / (1 - beta_1**num_steps)), real(1 / math.sqrt(1 - beta_2**num_steps))
    new_1, old_2, new_2, eps, l2 = real(1 - beta_1), real(beta_2), real(1 - beta_2), real(eps), real(l2)
    for i in range(start, stop):
        w, m, v, gradient = weight[rows[i]], first[rows[i]], second[rows[i]], grad[i]
        for k in range(len(w)):
            g = gradient[k] + l2 * w[k]
            m[k] += new_1 * (g - m[k])
            v[k] = old_2 * v[k] + new_2 * g * g
            w[k] -= size * m[k] / (np.sqrt(v[k]) * scale + eps)


@compiled
def ftrl(start, stop, rows, grad, weight, n, z, alpha, beta, l1, l2):
    """Update rows by FTRL-Proximal: grad `[u, K]`; weight, n and z `[m, K]`."""
    real = weight.dtype.type
    alpha, beta, l1, l2 = real(alpha), real(beta), real(l1), real(l2)
    for i in range(start, stop):
        w, squares, sums, gradient = weight[rows[i]], n[rows[i]], z[rows[i]], grad[i]
        for k in range(len(w)):
            g = gradient[k]
            root = np.sqrt(squares[k] + g * g)
            sums[k] += g - (root - np.sqrt(squares[k])) / alpha * w[k]
            squares[k] += g * g
            beyond = max(abs(sums[k]) - l1, real(0))
            w[k] = -np.copysign(beyond, sums[k]) / ((beta + root) / alpha + l2)


@compiled
def find_pairs(index, u, fields):
    """Find the distinct pairs of features for each pair of fields: index `[B, n]` below u, fields `[P, 2]`.

    Returns left, right and field_pair `[q]`, by field pair and left feature; at `[P, B]`, the pair of each row; and
    bounds `[P + 1]`, where each field pair's start.
    """
    batch, num_pairs = len(index), len(fields)
    left, right, field_pair = np.empty((3, num_pairs * batch), np.int64)
    at, bounds = np.empty((num_pairs, batch), np.int64), np.zeros(num_pairs + 1, np.int64)
    rows, ends = np.empty(batch, np.int64), np.empty(u + 1, np.int64)
    seen, pair = np.full(u, -1, np.int64), np.empty(u, np.int64)  # by the right feature, for one left feature
    sorted_by, group, q = -1, -1, 0
    for p in range(num_pairs):
        i, j = fields[p]
        if i != sorted_by:  # sort the rows by their feature of field i
            ends[:] = 0
            for r in range(batch):
                ends[index[r, i] + 1] += 1
            for a in range(u):
                ends[a + 1] += ends[a]
            for r in range(batch):
                rows[ends[index[r, i]]] = r
                ends[index[r, i]] += 1
            sorted_by = i
        last = -1
        for r in rows:
            a, b = index[r, i], index[r, j]
            if a != last:
                last, group = a, group + 1
            if seen[b] != group:
                seen[b], pair[b] = group, q
                left[q], right[q], field_pair[q] = a, b, p
                q += 1
            at[p, r] = pair[b]
        bounds[p + 1] = q
    return left[:q].copy(), right[:q].copy(), field_pair[:q].copy(), at, bounds


@compiled
def order_of(at, num_groups):
    """Sort the places of at `[N]` by group; returns order `[N]` and offsets `[num_groups]`."""
    order, ends = np.empty(len(at), np.int64), np.zeros(num_groups + 1, np.int64)
    for group in at:
        ends[group + 1] += 1
    for group in range(num_groups):
        ends[group + 1] += ends[group]
    offsets = ends[:num_groups].copy()
    for place in range(len(at)):
        order[ends[at[place]]] = place
        ends[at[place]] += 1
    return order, offsets


@compiled_sums
def pair_dots(start, stop, vectors, left, right, dots):
    """Compute the product of two vectors of each pair, `[q]`: vectors `[m, K]`, left and right `[q]`."""
    for q in range(start, stop):
        V, W = vectors[left[q]], vectors[right[q]]
        total = vectors.dtype.type(0)
        for k in range(len(V)):
            total += V[k] * W[k]
        dots[q] = total


@compiled
def pair_dots_gradient(start, stop, vectors, left, right, grad, to_left, to_right, out):
    """Add the gradients of the products to rows of out.

    In columns start … stop − 1: grad `[q]`, out `[u, K]`.
    """
    for q in range(len(grad)):
        V, W = vectors[left[q], start:stop], vectors[right[q], start:stop]
        of_V, of_W, g = out[to_left[q], start:stop], out[to_right[q], start:stop], grad[q]
        for k in range(len(V)):
            of_V[k] += g * W[k]
            of_W[k] += g * V[k]


@compiled
def sum_over_pairs(values, at, out):
    """Sum values `[q]` over the pairs of each row: at `[P, B]` → `[B]`."""
    out[:] = 0
    for pairs in at:
        for r in range(len(out)):
            out[r] += values[pairs[r]]


@compiled
def sum_over_rows(values, at, out):
    """Sum values `[B]` over the rows of each pair: at `[P, B]` → `[q]`."""
    out[:] = 0
    for pairs in at:
        for r in range(len(values)):
            out[pairs[r]] += values[r]


@compiled
def pair_products(start, stop, vectors, left, right, out):
    """Multiply two vectors of each pair: vectors `[m, K]`, left and right `[q]` → `[q, K]`."""
    for q in range(start, stop):
        V, W, result = vectors[left[q]], vectors[right[q]], out[q]
        for k in range(len(V)):
            result[k] = V[k] * W[k]


@compiled
def pair_products_gradient(start, stop, vectors, left, right, grad, out):
    """Add the gradients of `pair_products` to rows of out.

    In columns start … stop − 1: grad `[q, K]`.
    """
    for q in range(len(grad)):
        V, W, g = vectors[left[q], start:stop], vectors[right[q], start:stop], grad[q, start:stop]
        of_V, of_W = out[left[q], start:stop], out[right[q], start:stop]
        for k in range(len(V)):
            of_V[k] += g[k] * W[k]
            of_W[k] += g[k] * V[k]


@compiled_sums
def relu_dot(start, stop, hidden, b, h, out, active):
    """Compute hᵀ Relu(hidden + b), and which units are active.

    An empty `active` is left empty. Shape: hidden `[q, K_a]` → `[q]`.
    """
    for q in range(start, stop):
        x, total = hidden[q], hidden.dtype.type(0)
        for k in range(len(x)):
            total += h[k] * max(x[k] + b[k], hidden.dtype.type(0))
        out[q] = total
        if len(active):
            signs = active[q]
            for k in range(len(x)):
                signs[k] = x[k] + b[k] > 0


@compiled
def relu_dot_gradient(start, stop, active, grad, out):
    """Write grad `[q]` where units are active: `[q, K_a]`."""
    for q in range(start, stop):
        signs, result, g = active[q], out[q], grad[q]
        for k in range(len(result)):
            result[k] = g * signs[k]


@compiled
def sum_of_pairs(values, index, start, out):
    """Sum values over the rows of each pair.

    Pairs count from start on. Shape: values `[P, B, d]`, index `[P, B]` → `[pairs, d]`.
    """
    out[:] = 0
    for p in range(index.shape[0]):
        for r in range(index.shape[1]):
            for k in range(out.shape[1]):
                out[index[p, r] - start, k] += values[p, r, k]


@compiled_sums
def weigh(start, stop, products, M, field_pair, out):
    """Compute M_p · products of each pair.

    Shape: products `[q, K]`, M `[P, K]`, field_pair `[q]` → `[q]`.
    """
    for q in range(start, stop):
        V, w, total = products[q], M[field_pair[q]], products.dtype.type(0)
        for k in range(len(V)):
            total += V[k] * w[k]
        out[q] = total


@compiled
def weigh_gradient(start, stop, grad, M, field_pair, out):
    """Add the gradient of `weigh` for the products, grad `[q]`, to out `[q, K]`."""
    for q in range(start, stop):
        w, result, g = M[field_pair[q]], out[q], grad[q]
        for k in range(len(w)):
            result[k] += g * w[k]


@compiled_sums
def weigh_masked(start, stop, products, index, first, mask, M, out):
    """Compute M_p · (mask ⊙ products) for rows start … stop − 1.

    Shape: index and out `[P, B]`, which counts pairs from first on; mask `[P, B, K]`, M `[P, K]`.
    """
    for p in range(len(index)):
        w = M[p]
        for r in range(start, stop):
            V, keep, total = products[index[p, r] - first], mask[p, r], products.dtype.type(0)
            for k in range(len(V)):
                total += V[k] * w[k] * keep[k]
            out[p, r] = total


@compiled
def mask_products(start, stop, products, index, first, mask, out):
    """Multiply the products of rows start … stop − 1 by a mask. Shapes as in `weigh_masked`."""
    for p in range(len(index)):
        for r in range(start, stop):
            V, keep, result = products[index[p, r] - first], mask[p, r], out[p, r]
            for k in range(len(V)):
                result[k] = V[k] * keep[k]


@compiled
def weigh_masked_gradient(
    start, stop, grad, mask, order, offsets, first, last, products, M, field_pair, of_products, of_M
):
    """Propagate the gradient of `weigh_masked` to products and M.

    Adds to of_products, and writes each pair's part of M's gradient to of_M.
    Shape: grad `[N]`, mask `[N, K]`, the places first … last − 1 of order; the others `[q, K]`.
    """
    kept = np.empty_like(M[0])
    for q in range(start, stop):
        kept[:] = 0
        stop_at = offsets[q + 1] if q + 1 < len(offsets) else last
        for place in order[offsets[q] : stop_at]:
            g, keep = grad[place - first], mask[place - first]
            for k in range(len(kept)):
                kept[k] += g * keep[k]
        V, w, of_V, of_w = products[q], M[field_pair[q]], of_products[q], of_M[q]
        for k in range(len(kept)):
            of_V[k] += w[k] * kept[k]
            of_w[k] = V[k] * kept[k]


@compiled
def sum_masked(start, stop, values, mask, order, offsets, first, last, out):
    """Add masked values of each pair's rows: `[N, K]` to out `[q, K]`."""
    for q in range(start, stop):
        result, stop_at = out[q], offsets[q + 1] if q + 1 < len(offsets) else last
        for place in order[offsets[q] : stop_at]:
            V, keep = values[place - first], mask[place - first]
            for k in range(len(result)):
                result[k] += V[k] * keep[k]


@compiled
def pool_products(start, stop, vectors, left, right, index, T, mask, out):
    """Add Σ_p T_p mask ⊙ V_i ⊙ V_j of each row to out.

    For rows start … stop − 1. Shape: T and index `[P, B]`, mask `[P, B, K]` or empty, which keeps all; out `[B, K]`.
    """
    for r in range(start, stop):
        result = out[r]
        for p in range(len(index)):
            V, W, t = vectors[left[index[p, r]]], vectors[right[index[p, r]]], T[p, r]
            if len(mask):
                keep = mask[p, r]
                for k in range(len(V)):
                    result[k] += t * V[k] * W[k] * keep[k]
            else:
                for k in range(len(V)):
                    result[k] += t * V[k] * W[k]


@compiled_sums
def pool_products_weights_gradient(start, stop, vectors, left, right, index, mask, grad, out):
    """Compute the gradient of T in `pool_products`: grad `[B, K]` → `[P, B]`."""
    for r in range(start, stop):
        g = grad[r]
        for p in range(len(index)):
            V, W, total = vectors[left[index[p, r]]], vectors[right[index[p, r]]], grad.dtype.type(0)
            if len(mask):
                keep = mask[p, r]
                for k in range(len(V)):
                    total += g[k] * V[k] * W[k] * keep[k]
            else:
                for k in range(len(V)):
                    total += g[k] * V[k] * W[k]
            out[p, r] = total


@compiled
def pool_products_gradient(start, stop, vectors, left, right, index, T, mask, grad, out):
    """Add the gradient of `pool_products` to columns start … stop − 1 of out `[m, K]`."""
    for p in range(len(index)):
        for r in range(index.shape[1]):
            i, j, g, t = left[index[p, r]], right[index[p, r]], grad[r, start:stop], T[p, r]
            V, W, of_V, of_W = vectors[i, start:stop], vectors[j, start:stop], out[i, start:stop], out[j, start:stop]
            if len(mask):
                keep = mask[p, r, start:stop]
                for k in range(len(V)):
                    of_V[k] += t * g[k] * keep[k] * W[k]
                    of_W[k] += t * g[k] * keep[k] * V[k]
            else:
                for k in range(len(V)):
                    of_V[k] += t * g[k] * W[k]
                    of_W[k] += t * g[k] * V[k]
