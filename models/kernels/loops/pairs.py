"""Loop over distinct pairs of features: find and multiply them."""

import numpy as np

from models.kernels.code_cache import compiled, compiled_sums


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
