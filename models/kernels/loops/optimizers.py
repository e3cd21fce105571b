"""Loop over the rows of a table that an optimizer updates."""

import math

import numpy as np

from models.kernels.code_cache import compiled


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
