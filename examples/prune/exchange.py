"""Swaps that know of the least squares: what comes back and what goes is judged with the other weights adjusted.

A weight that went gains c^2 / H_pp when it comes back, where c = ((W - V) H)_p is what its results lack; a weight that
stays costs v^2 / (H^-1)_qq when it goes and all others make up for it. Both are bounds for one swap alone. So each
round swaps several pairs in each row, fits the rows again, and keeps those rows that became better."""

import numpy as np

import quadratic
import refit

PART = 1 / 72  # of a row's weights that the first rounds swap
FIT = 5        # iterations of the fit in a round


def leave_costs(h):
    """1 / (H^-1)_qq for each column."""
    return (1 / np.einsum("ii->i", np.linalg.inv(h))).astype(np.float32)


def improve(w, h, mask, costs, rounds, group=None, start=None):
    """V after so many rounds, fitted to mask, which is changed in place."""
    diagonal = np.einsum("ii->i", h)
    v = refit.solve(w, h, mask, start, 2 * FIT)
    error = quadratic.cost(w - v, h)
    for i in range(rounds):
        lack = (w - v) @ h
        gain = np.where(mask & (w != 0), np.square(lack) / diagonal, -1)
        loss = np.where(mask, np.inf, np.square(v) * costs)
        n = max(1, int(PART * w.shape[1]) >> i // 2)
        other = mask.copy()
        swap_near(other, gain, loss, n, group) if group else swap(other, gain, loss, n)
        tried = refit.solve(w, h, other, v, FIT)
        now = quadratic.cost(w - tried, h)
        better = now < error
        mask[better], v[better], error[better] = other[better], tried[better], now[better]
    return refit.solve(w, h, mask, v)


def swap(mask, gain, loss, n):
    """The n best of both sides, paired in order, where the gain is larger than the loss."""
    rows = np.arange(len(mask))[:, None]
    p, q = (np.argpartition(order, n - 1, axis=1)[:, :n] for order in (-gain, loss))
    p = np.take_along_axis(p, np.argsort(-gain[rows, p], axis=1), axis=1)
    q = np.take_along_axis(q, np.argsort(loss[rows, q], axis=1), axis=1)
    good = gain[rows, p] > loss[rows, q]
    rows = np.broadcast_to(rows, p.shape)[good]
    mask[rows, p[good]], mask[rows, q[good]] = False, True


def swap_near(mask, gain, loss, n, group):
    """The best pair of each group of neighbours, in the n groups of a row where that is best."""
    gain, loss = (part.reshape(len(mask), -1, group) for part in (gain, loss))
    p, q = gain.argmax(axis=2), loss.argmin(axis=2)
    better = np.take_along_axis(gain, p[..., None], 2)[..., 0] - np.take_along_axis(loss, q[..., None], 2)[..., 0]
    n = min(n, better.shape[1])
    best = np.argpartition(-better, n - 1, axis=1)[:, :n]
    rows = np.arange(len(mask))[:, None]
    good = better[rows, best] > 0
    rows, best = np.broadcast_to(rows, best.shape)[good], best[good]
    mask[rows, best * group + p[rows, best]], mask[rows, best * group + q[rows, best]] = False, True
