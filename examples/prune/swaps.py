"""SparseSwaps (arXiv 2512.10922): in each row, one weight that went comes back and one that stayed goes, as long as
that makes the row's error smaller. The number of zeros of a row stays, and no weight changes its value.

With g = w where the mask is true, the row's error is g H g^T; let c = g H. If p comes back and q goes, it changes by
(w_p^2 H_pp - 2 w_p c_p) + (w_q^2 H_qq + 2 w_q c_q) - 2 w_p w_q H_pq. The paper looks at all pairs. Here the CANDIDATES
best of either side are paired, those with the smallest first and second terms: each swap still makes the error
smaller by what the whole formula says."""

import numpy as np

CANDIDATES = 16
ROUNDING = 1e-6  # of a row's error: a smaller gain may be none


def improve(w, h, mask, swaps, group=None):
    """Makes at most so many swaps in each row of mask, in place; with group only within so many neighbours. Returns how
    many were made in all rows."""
    made = 0
    diagonal = np.einsum("ii->i", h)
    gone = np.where(mask, w, 0)
    slopes = gone @ h
    least = ROUNDING * np.einsum("ij,ij->i", gone, slopes)
    slopes *= 2 * w
    squares = np.square(w) * diagonal
    near = blocks(h, group) if group else None
    active = np.arange(len(w))
    for _ in range(swaps):
        out = mask[active]
        back = np.where(out & (w[active] != 0), squares[active] - slopes[active], np.inf)
        go = np.where(out, np.inf, squares[active] + slopes[active])
        change, p, q = pair_near(w[active], back, go, near) if group else pair(w[active], back, go, h)
        better = change < -least[active]
        active, p, q = active[better], p[better], q[better]
        if not len(active):
            break
        mask[active, p], mask[active, q] = False, True
        slopes[active] += 2 * w[active] * (w[active, q, None] * h[q] - w[active, p, None] * h[p])
        made += len(active)
    return made


def pair(w, back, go, h):
    """(change, p, q) of the best pair of candidates in each row."""
    n = min(CANDIDATES, w.shape[1])
    rows = np.arange(len(w))
    p, q = (np.argpartition(part, n - 1, axis=1)[:, :n] for part in (back, go))
    change = (np.take_along_axis(back, p, 1)[:, :, None] + np.take_along_axis(go, q, 1)[:, None, :]
              - 2 * np.take_along_axis(w, p, 1)[:, :, None] * np.take_along_axis(w, q, 1)[:, None, :]
              * h[p[:, :, None], q[:, None, :]]).reshape(len(w), -1)
    best = change.argmin(axis=1)
    return change[rows, best], p[rows, best // n], q[rows, best % n]


def blocks(h, group):
    """The parts of H that belong to groups of neighbours, (groups, group, group)."""
    n = len(h) // group
    return h.reshape(n, group, n, group)[np.arange(n), :, np.arange(n), :]


def pair_near(w, back, go, near):
    """The same among all pairs of neighbours."""
    shape = (len(w), *near.shape[:2])
    n = shape[2]
    back, go, w = (part.reshape(shape) for part in (back, go, w))
    change = (back[..., :, None] + go[..., None, :] - 2 * w[..., :, None] * w[..., None, :] * near).reshape(len(w), -1)
    best = change.argmin(axis=1)
    group, p, q = best // (n * n), best // n % n, best % n
    return change[np.arange(len(w)), best], group * n + p, group * n + q
