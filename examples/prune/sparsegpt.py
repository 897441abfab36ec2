"""SparseGPT (arXiv 2301.00774): column by column from the left, a weight goes and those right of it make up for it.

The paper takes the rows of the Cholesky factor of H's inverse. The same comes from H = R R^T with R upper triangular,
and without an inverse: (W - V) H (W - V)^T is |(W - V) R|^2, whose column j depends on the columns of V up to j only.
So the weight that column j should have, once those left of it are settled, is w_j + sum over i < j of
(w_i - v_i) R_ij / R_jj, and leaving it out costs its square times R_jj^2."""

import numpy as np

from quadratic import smallest

BLOCK = 128  # columns between two products of matrices; weights are compared with the others of their block


def factor(h):
    """R, upper triangular, with R R^T = H."""
    return np.ascontiguousarray(np.linalg.cholesky(h[::-1, ::-1])[::-1, ::-1])


def update(w, r, mask=None, share=0.5, group=None):
    """(V, mask) for the rows W, float32. mask: true where V must be zero; None: chosen on the way, the share of each
    row, or with group (keep, n) all but keep of n neighbours. What is zero in W counts among these and stays zero."""
    columns = w.shape[1]
    v, difference = np.empty_like(w), np.zeros_like(w)
    zero = w == 0
    chosen = np.zeros(w.shape, dtype=bool) if mask is None else mask
    up_to = None if group or mask is not None else quotas(zero, share)
    diagonal = np.einsum("ii->i", r)
    block = BLOCK - BLOCK % group[1] if group else BLOCK
    for begin in range(0, columns, block):
        end = min(begin + block, columns)
        inside, width = slice(begin, end), end - begin
        # What the columns that are settled ask of those of this block.
        asked = (difference[:, :begin] @ r[:begin, inside]) / diagonal[inside]
        local = r[inside, inside] / diagonal[inside]
        span = group[1] if group else width
        for j in range(width):
            at = begin + j
            if mask is None and j % span == 0:
                near = slice(j, j + span)
                # Those between give way too, so that their own results are right.
                free = w[:, at:at + span] + np.linalg.solve(local[near, near].T, asked[:, near].T).T
                scores = np.square(free * diagonal[at:at + span])
                scores[zero[:, at:at + span]] = -1
                if group:
                    chosen[:, at:at + span] = smallest(scores, span - group[0])
                else:
                    chosen[:, inside] = smallest_of_each(scores, up_to(end) - up_to(begin))
            v[:, at] = np.where(chosen[:, at] | zero[:, at], 0, w[:, at] + asked[:, j])
            difference[:, at] = w[:, at] - v[:, at]
            asked[:, j + 1:] += difference[:, at, None] * local[j, j + 1:]
    return v, chosen


def quotas(zero, share):
    """up_to(columns): how many weights of each row are zero or gone among its first columns: its zeros, and of the
    weights between them an even part of those that its share asks for beside its zeros."""
    columns = zero.shape[1]
    before = np.concatenate([np.zeros((len(zero), 1), np.int32), zero.cumsum(axis=1, dtype=np.int32)], axis=1)
    n_zeros, wanted = before[:, -1], round(share * columns)
    missing = np.maximum(wanted - n_zeros, 0)
    part = np.where(n_zeros == 0, share, missing / np.maximum(columns - n_zeros, 1))

    def up_to(n):
        own = before[:, n]
        return own + (missing if n == columns else np.minimum(np.rint(part * (n - own)).astype(int), missing))
    return up_to


def smallest_of_each(scores, counts):
    """Mask of the smallest scores of each row, of each as many as its count says."""
    mask = np.zeros(scores.shape, dtype=bool)
    places = np.argsort(scores, axis=1)
    np.put_along_axis(mask, places, np.arange(scores.shape[1]) < counts[:, None], axis=1)
    return mask
