"""Which weights go: those with the smallest scores, in each output row, each group of a pattern, a tensor, or the
model.

A score is |w|, or with an importance matrix Wanda's |w| times the norm of the input that meets it (arXiv 2306.11695).
Work is cut into chunks of whole rows, one thread each; numpy lets go of the interpreter's lock in what takes the
time.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

import codes

CHUNK = 1 << 21  # weights


@dataclass(frozen=True)
class Count:
    weights: int = 0
    zeros_before: int = 0
    zeros_after: int = 0
    negative: int = 0  # zeros that were -0 before
    broken: int = 0    # NaN and infinite weights

    def __add__(self, other):
        return Count(*(a + b for a, b in zip(vars(self).values(), vars(other).values())))


@dataclass(frozen=True)
class Cut:
    """Every score below the threshold goes, and of those equal to it the first n_equal. Scores are kept as the bits of
    their float32, which are in the same order."""
    threshold: int
    n_equal: int


class Matrix:
    """A tensor's bytes and the norms of its inputs (None: magnitude)."""

    def __init__(self, raw, tensor, norms):
        self.raw, self.kind, self.tensor, self.norms = raw, tensor.type, tensor, norms
        step = max(1, CHUNK // tensor.columns)
        self.chunks = [slice(begin, min(begin + step, tensor.rows)) for begin in range(0, tensor.rows, step)]

    def scores(self, rows):
        """(scores, weights that are zero already) of these rows."""
        weights = codes.decode(self.raw[rows], self.kind)
        zero = weights == 0
        scores = np.abs(weights)
        if self.norms is not None:
            rows_each = self.tensor.rows // len(self.norms)
            with np.errstate(invalid="ignore", over="ignore"):
                scores *= self.norms[np.arange(rows.start, rows.stop) // rows_each]
        # zero times an infinite norm included. NaN sorts last: what is broken is not made to look sound
        scores[zero] = 0
        return scores, zero

    def bits(self, rows):
        scores, zero = self.scores(rows)
        return np.ascontiguousarray(scores).view(np.uint32), zero

    def apply(self, rows, mask, zero):
        """Weights that were zero before get the type's zero too: -0, left by a mask that was multiplied, is another
        code."""
        raw = self.raw[rows]
        negative, broken = codes.negative_zeros(raw, self.kind), codes.broken(raw, self.kind)
        codes.prune(raw, mask, zero, self.kind)
        return Count(mask.size, int(zero.sum()), int((mask | zero).sum()), negative, broken)


def pool_of(threads):
    return ThreadPoolExecutor(threads, thread_name_prefix="prune")


def add_counts(counts):
    return sum(counts, Count())


def prune_rows(pool, matrix, share):
    """The same share of each output row, exactly: Wanda's own choice, and even work for every thread of an engine."""
    n_zeros = round(share * matrix.tensor.columns)

    def work(rows):
        scores, zero = matrix.scores(rows)
        return matrix.apply(rows, smallest(scores, n_zeros), zero)
    return add_counts(pool.map(work, matrix.chunks))


def prune_groups(pool, matrix, keep, group):
    """keep of every group of neighbours in a row stay."""
    def work(rows):
        scores, zero = matrix.scores(rows)
        mask = smallest_in_groups(scores, keep, group)
        return matrix.apply(rows, mask, zero)
    return add_counts(pool.map(work, matrix.chunks))


def smallest(scores, n):
    mask = np.zeros(scores.shape, dtype=bool)
    if n > 0:
        places = np.argpartition(scores, n - 1, axis=1)[:, :n]
        np.put_along_axis(mask, places, True, axis=1)
    return mask


def smallest_in_groups(scores, keep, group):
    """Mask of all but the keep largest of each group of neighbours."""
    return smallest(scores.reshape(-1, group), group - keep).reshape(scores.shape)


def find_cut(pool, matrices, share):
    """The cut that takes the given share of all weights of the matrices (called twice, yields Matrix), without a sort:
    counted by the upper half of the scores' bits, then by the lower half where the cut falls."""
    upper = np.zeros(1 << 16, dtype=np.int64)
    for matrix in matrices():
        for part in pool.map(lambda rows: histogram(matrix.bits(rows)[0] >> 16), matrix.chunks):
            upper += part
        del matrix  # or it would stay in memory beside the next one
    left = round(share * int(upper.sum()))
    if left == 0:
        return Cut(0, 0)
    half = int(np.searchsorted(upper.cumsum(), left))
    left -= int(upper[:half].sum())

    def lower_half(matrix, rows):
        bits = matrix.bits(rows)[0]
        return histogram(bits[bits >> 16 == half] & 0xFFFF)
    lower = np.zeros(1 << 16, dtype=np.int64)
    for matrix in matrices():
        for part in pool.map(lambda rows: lower_half(matrix, rows), matrix.chunks):
            lower += part
        del matrix
    last = int(np.searchsorted(lower.cumsum(), left))
    return Cut(half << 16 | last, left - int(lower[:last].sum()))


def histogram(bits):
    return np.bincount(bits.ravel(), minlength=1 << 16)


def prune_below(pool, matrix, cut, n_before):
    """Prunes below the cut; n_before weights equal to it have been met already. Returns (counts, equal ones met
    here)."""
    def count(rows):
        return int((matrix.bits(rows)[0] == cut.threshold).sum())
    equal = list(pool.map(count, matrix.chunks))
    met = n_before + np.cumsum([0] + equal)

    def work(rows, met_before):
        bits, zero = matrix.bits(rows)
        mask = bits < cut.threshold
        places = np.flatnonzero(bits == cut.threshold)[:max(0, cut.n_equal - int(met_before))]
        mask.ravel()[places] = True
        return matrix.apply(rows, mask, zero)
    return add_counts(pool.map(work, matrix.chunks, met)), sum(equal)
