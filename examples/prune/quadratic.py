"""The error that a row of a matrix makes: with the inputs X that calibration saw and H = X^T X, a change of D of the
row's weights changes its results, over all tokens, by |X D^T|^2 = D H D^T. swaps.py, sparsegpt.py, refit.py and
exchange.py make it small."""

import numpy as np

DAMPING = 0.01  # of the mean of H's diagonal, added to it, as in SparseGPT: for what calibration has not seen


def damped(gram, damping=DAMPING):
    """H as float32, scaled to a mean of 1 on its diagonal and made positive definite, which that of few tokens is not.
    In the memory of gram if that is float32."""
    h = np.require(gram, dtype=np.float32, requirements=["C", "W"])
    diagonal = np.einsum("ii->i", h)
    mean = float(diagonal.mean(dtype=np.float64))
    if mean > 0:
        h /= np.float32(mean)  # no product leaves float32's range then
        diagonal += np.float32(damping)
    else:
        diagonal[:] = 1  # no inputs at all: every weight counts alike
    return h


def cost(change, h):
    """D H D^T for each row of D."""
    return np.einsum("ij,ij->i", change @ h, change, dtype=np.float64)


def smallest(scores, n):
    """Mask of the n smallest scores of each row."""
    mask = np.zeros(scores.shape, dtype=bool)
    if n > 0:
        places = np.argpartition(scores, n - 1, axis=1)[:, :n]
        np.put_along_axis(mask, places, True, axis=1)
    return mask
