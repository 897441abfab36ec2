"""Pruning with a file of Gram matrices: the steps of --method, one after the other, on rows of one matrix at a time.

    scores     no step at all: Wanda's choice, or that of magnitudes
    swaps      exchanges weights of the mask, by what that does to the results (swaps.py)
    sparsegpt  chooses a mask unless a step before has, and adjusts what stays (sparsegpt.py)
    refit      fits what stays to the results of the dense matrix (refit.py)
    exchange   exchanges and fits in rounds (exchange.py)

The mask that swaps, refit and exchange begin with is that of the scores: Wanda's, or magnitudes. In memory at a time:
the tensor, H, as much as six more of it while its factor is made and eight while its inverse is, which numpy makes in
double, and some twelve arrays of float32 with CHUNK weights."""

import numpy as np

import choice
import codes
import exchange
import quadratic
import refit
import sparsegpt
import swaps
from container import Fault

STEPS = ("swaps", "sparsegpt", "refit", "exchange")
GO_ON = ("refit", "exchange")  # with the weights that the step before left; the others take no more than its mask
SCORES = "scores"
BEST = "exchange"
SWAPS, ROUNDS = 100, 4
CHUNK = 1 << 23  # weights; so many rows share a product with H, which has to be read from memory for it


def method_of(text):
    """The steps of --method, none for "scores"; ValueError for what is no method."""
    if text == SCORES:
        return ()
    steps = tuple(part.strip() for part in text.split("+"))
    if not all(step in STEPS for step in steps):
        raise ValueError(f"a method is {SCORES}, or one or several of {', '.join(STEPS)}, joined by +; not {text}")
    for number, step in enumerate(steps[1:], 1):
        if step == "swaps":
            raise ValueError(f"swaps gives weights back the values that they had, so it can only be the first step of "
                             f"a method; not {text}")
        if step not in GO_ON and changes_weights(steps[:number]):
            raise ValueError(f"{step} begins with the weights of the dense matrix, so what {steps[number - 1]} made of "
                             f"them would be lost: {step} can only be the first step of a method or follow swaps; "
                             f"not {text}")
    return steps


def changes_weights(steps):
    return any(step != "swaps" for step in steps)


class Source:
    """The Gram matrices of a model's tensors."""

    def __init__(self, grams):
        self.grams = grams

    def check(self, tensor):
        """Raises Fault unless there are sums that fit this tensor."""
        matrices = tensor.shape[0] if len(tensor.shape) == 3 else 1
        experts = self.grams.experts(tensor.name)
        if self.grams.columns(tensor.name) != tensor.columns:
            raise Fault(f"{self.grams.path} has sums of {self.grams.columns(tensor.name)} inputs for {tensor.name}, "
                        f"whose rows have {tensor.columns} weights")
        if bool(experts) != (len(tensor.shape) == 3) or any(expert >= matrices for expert in experts):
            raise Fault(f"{self.grams.path} has sums of other experts for {tensor.name} than the model has")
        if experts and self.grams.n_experts(tensor.name) != matrices:
            raise Fault(f"{self.grams.path} is of {self.grams.n_experts(tensor.name)} experts for {tensor.name}, of "
                        f"which the model has {matrices}: collect the sums of this model")

    def matrices(self, tensor):
        """(which, rows of the tensor) for each of its matrices."""
        if len(tensor.shape) != 3:
            return [(None, slice(0, tensor.rows))]
        each = tensor.rows // tensor.shape[0]
        return [(i, slice(i * each, (i + 1) * each)) for i in range(tensor.shape[0])]

    def gram(self, tensor, which):
        return self.grams.gram(tensor.name, which)

    def few_tokens(self, tensor):
        """The smallest count of inputs of its matrices, if that is less than the columns: too few."""
        count = min(self.grams.count(tensor.name, which) for which, _ in self.matrices(tensor))
        return count if count < tensor.columns else None


def prune(matrix, source, steps, share, group, by_magnitude, progress):
    """Prunes one tensor (choice.Matrix) in place; group: (keep, of so many neighbours) or None. progress(rows)."""
    count = choice.Count()
    for which, rows in source.matrices(matrix.tensor):
        h = source.gram(matrix.tensor, which)
        diagonal = np.einsum("ii->i", h).copy()
        norms = None if by_magnitude or not diagonal.any() else np.sqrt(diagonal)
        h = quadratic.damped(h)
        factor = sparsegpt.factor(h) if "sparsegpt" in steps else None
        costs = exchange.leave_costs(h) if "exchange" in steps else None
        step = max(1, CHUNK // matrix.tensor.columns)
        for begin in range(rows.start, rows.stop, step):
            part = slice(begin, min(begin + step, rows.stop))
            count += rows_of(matrix, part, h, norms, factor, costs, steps, share, group)
            progress(part.stop - part.start)
        del h, factor
    return count


def rows_of(matrix, rows, h, norms, factor, costs, steps, share, group):
    raw = matrix.raw[rows]
    w = codes.decode(raw, matrix.kind)
    zero, broken = w == 0, ~np.isfinite(w)
    negative = codes.negative_zeros(raw, matrix.kind)
    scores = np.abs(w)
    if norms is not None:
        with np.errstate(invalid="ignore", over="ignore"):
            scores *= norms
    scores[zero] = -1  # before those of inputs that were never there
    mask = choice.smallest_in_groups(scores, *group) if group else choice.smallest(scores, round(share * w.shape[1]))
    sound = ~broken.any(axis=1)  # sums over a row with NaN are NaN: such a row is pruned by its scores alone
    if sound.any():
        own, v = take_steps(w[sound], h, mask[sound], factor, costs, steps, share, group)
        mask[sound] = own
        if v is not None:
            # A row that has its zeros already stays as it is: to encode it anew could round its weights.
            new = (v != w[sound]).any(axis=1)
            at = np.flatnonzero(sound)[new]
            changed = raw[at]
            codes.encode(changed, v[new], matrix.kind)
            raw[at] = changed
    after = codes.decode(raw, matrix.kind) == 0
    codes.prune(raw, mask, zero & after, matrix.kind)
    return choice.Count(mask.size, int(zero.sum()), int((mask | after).sum()), negative, int(broken.sum()))


def take_steps(w, h, mask, factor, costs, steps, share, group):
    """(mask, V): V is None where no weight that stays has another value. What is zero in W is zero in V."""
    v, neighbours = None, group and group[1]
    for number, name in enumerate(steps):
        if name == "swaps":
            swaps.improve(w, h, mask, SWAPS, neighbours)
        elif name == "sparsegpt":
            v, mask = sparsegpt.update(w, factor, mask if number else None, share, group)
        elif name == "refit":
            v = refit.solve(w, h, mask, v)
        else:
            v = exchange.improve(w, h, mask, costs, ROUNDS, neighbours, v)
    return mask, v
