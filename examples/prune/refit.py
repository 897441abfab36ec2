"""Least squares: of all matrices with zeros where the mask has them, the one whose results are nearest to those of the
dense matrix. Conjugate gradients for all rows at once, each with its own steps; H's diagonal is the preconditioner. An
iteration is one product of the rows with H."""

import numpy as np

ITERATIONS, TOLERANCE = 15, 1e-4


def solve(w, h, mask, start=None, iterations=ITERATIONS):
    """V, zero where mask is true or W is zero, with a small (W - V) H (W - V)^T in each row; start: a V to begin
    with."""
    keep = ~mask & (w != 0)
    v = np.where(keep, w if start is None else start, np.float32(0))
    scale = 1 / np.einsum("ii->i", h)
    residual = ((w - v) @ h) * keep
    step = residual * scale
    direction = step.copy()
    old = first = np.einsum("ij,ij->i", residual, step)
    for _ in range(iterations):
        if (old <= TOLERANCE**2 * first).all():
            break
        product = (direction @ h) * keep
        bend = np.einsum("ij,ij->i", direction, product)
        length = np.divide(old, bend, out=np.zeros_like(old), where=bend > 0)[:, None]
        v += length * direction
        residual -= length * product
        np.multiply(residual, scale, out=step)
        new = np.einsum("ij,ij->i", residual, step)
        direction *= np.divide(new, old, out=np.zeros_like(old), where=old > 0)[:, None]
        direction += step
        old = new
    return v
