"""Loop over pairs of features that attention or dropout weighs."""

import numpy as np

from models.kernels.code_cache import compiled, compiled_sums


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
