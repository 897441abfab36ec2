"""The steps of --method on arrays, each against the plain way to the same result."""

import itertools

import numpy as np
import pytest

import calibrated
import exchange
import quadratic
import refit
import sparsegpt
import swaps
from grams import inputs

ROWS, COLUMNS = 24, 96


@pytest.fixture
def problem():
    """(W, H, Wanda's mask at a half)"""
    w = np.random.default_rng(1).standard_normal((ROWS, COLUMNS), dtype=np.float32)
    x = inputs(COLUMNS)
    h = quadratic.damped(x.T @ x)
    return w, h, quadratic.smallest(np.abs(w) * np.sqrt(np.diag(h)), COLUMNS // 2)


def test_damped_is_positive_definite_for_few_tokens_and_none():
    x = inputs(COLUMNS, tokens=5)
    for gram in (x.T @ x, np.zeros((COLUMNS, COLUMNS), np.float32), 1e30 * (x.T @ x), 1e-30 * (x.T @ x)):
        h = quadratic.damped(gram.copy())
        assert h.dtype == np.float32 and np.linalg.eigvalsh(h.astype(np.float64)).min() > 0.005
        np.linalg.cholesky(h)


def test_cost_is_the_error_of_the_results():
    x = inputs(COLUMNS)
    change = np.random.default_rng(2).standard_normal((ROWS, COLUMNS), dtype=np.float32)
    errors = np.square(x.astype(np.float64) @ change.T.astype(np.float64)).sum(axis=0)
    assert np.allclose(quadratic.cost(change, x.T @ x), errors, rtol=1e-4)


def as_published(w, h, mask, share, group):
    """SparseGPT as its authors wrote it down: the Cholesky factor of the inverse, updates of all columns to the
    right."""
    w, mask = w.astype(np.float64), None if mask is None else mask.copy()
    u = np.linalg.cholesky(np.linalg.inv(h.astype(np.float64))).T
    found = np.zeros(w.shape, dtype=bool)
    for i in range(w.shape[1]):
        span = group[1] if group else sparsegpt.BLOCK
        if mask is None and i % span == 0:
            end = min(i + span, w.shape[1])
            n_zeros = span - group[0] if group else round(share * end) - round(share * i)
            found[:, i:end] = quadratic.smallest(np.square(w[:, i:end] / np.diag(u)[i:end]), n_zeros)
        gone = (mask if mask is not None else found)[:, i]
        error = np.where(gone, w[:, i], 0) / u[i, i]
        w[:, i + 1:] -= error[:, None] * u[i, i + 1:]
        w[gone, i] = 0
    return w, found if mask is None else mask


@pytest.mark.parametrize("given", [False, True], ids=["chosen", "given"])
@pytest.mark.parametrize("group", [None, (2, 4), (4, 8)], ids=str)
def test_sparsegpt_is_the_published_one(problem, monkeypatch, given, group):
    monkeypatch.setattr(sparsegpt, "BLOCK", 40)  # several blocks, the last one shorter
    w, h, mask = problem
    v, found = sparsegpt.update(w, sparsegpt.factor(h), mask if given else None, 0.5, group)
    expected, chosen = as_published(w, h, mask if given else None, 0.5, group)
    assert np.array_equal(found, chosen) and (v[found] == 0).all()
    assert np.abs(v - expected).max() < 1e-3 * np.abs(expected).max()
    if not given:
        assert (found.sum(axis=1) == COLUMNS // 2).all()


def test_refit_is_least_squares(problem):
    w, h, mask = problem
    v = refit.solve(w, h, mask, iterations=200)
    root = np.linalg.cholesky(h.astype(np.float64)).T
    for row, out, found in zip(w, mask, v):
        best = np.linalg.lstsq(root[:, ~out], root @ row.astype(np.float64), rcond=None)[0]
        assert np.abs(found[~out] - best).max() < 2e-3 * np.abs(best).max() and (found[out] == 0).all()
    few = refit.solve(w, h, mask)
    assert quadratic.cost(w - few, h).sum() < 1.02 * quadratic.cost(w - v, h).sum()


def all_swaps(w, h, mask):
    """{(p, q): change of the error} of one row, by computing both errors."""
    before = np.where(mask, w, 0)
    error = before @ h @ before
    changes = {}
    for p in np.flatnonzero(mask):
        for q in np.flatnonzero(~mask):
            after = before.copy()
            after[p], after[q] = 0, w[q]
            changes[int(p), int(q)] = after @ h @ after - error
    return changes


@pytest.mark.parametrize("group", [None, 8])
def test_a_swap_is_the_best_of_all(problem, monkeypatch, group):
    """With all columns as candidates nothing is left out; with the usual number it is nearly as good."""
    monkeypatch.setattr(swaps, "CANDIDATES", COLUMNS // 2)
    w, h, mask = (part.astype(np.float64) if part.dtype != bool else part for part in problem)
    if group:
        mask = quadratic.smallest((np.abs(w) * np.sqrt(np.diag(h))).reshape(-1, group), 4).reshape(mask.shape)
    for row in range(6):
        changes = {pair: change for pair, change in all_swaps(w[row], h, mask[row]).items()
                   if not group or pair[0] // group == pair[1] // group}
        best = min(changes, key=changes.get)
        after = mask[row:row + 1].copy()
        made = swaps.improve(w[row:row + 1], h, after, 1, group)
        changed = np.flatnonzero(after[0] != mask[row])
        assert made == (changes[best] < 0) and set(changed) == (set(best) if made else set())


@pytest.mark.parametrize("group", [None, 4, 8])
def test_swaps_make_every_row_better(problem, group):
    w, h, mask = problem
    if group:
        mask = quadratic.smallest((np.abs(w) * np.sqrt(np.diag(h))).reshape(-1, group), group // 2).reshape(mask.shape)
    errors, total = [], mask
    for n in (0, 1, 5, 1000):
        total = mask.copy()
        made = swaps.improve(w, h, total, n, group)
        assert made <= n * ROWS and (total.sum(axis=1) == COLUMNS // 2).all()
        errors.append(quadratic.cost(np.where(total, w, 0), h))
    assert all((after <= before * (1 + 1e-5)).all() for before, after in zip(errors, errors[1:]))
    assert errors[-1].sum() < 0.85 * errors[0].sum()
    if group:
        assert (total.reshape(-1, group).sum(axis=1) == group // 2).all()


@pytest.mark.parametrize("group", [None, 4])
def test_exchange_makes_every_row_better_than_its_fit(problem, group):
    w, h, mask = problem
    if group:
        mask = quadratic.smallest((np.abs(w) * np.sqrt(np.diag(h))).reshape(-1, group), 2).reshape(mask.shape)
    fitted = quadratic.cost(w - refit.solve(w, h, mask), h)
    v = exchange.improve(w, h, mask, exchange.leave_costs(h), 8, group)
    after = quadratic.cost(w - v, h)
    assert (v[mask] == 0).all() and (mask.sum(axis=1) == COLUMNS // 2).all()
    assert (after <= fitted * (1 + 1e-3)).all() and after.sum() < 0.9 * fitted.sum()
    if group:
        assert (mask.reshape(-1, 4).sum(axis=1) == 2).all()


def test_zeros_never_come_back(problem, monkeypatch):
    """They are where inputs are largest, which gains most; and what else goes is chosen badly."""
    w, h, mask = problem
    monkeypatch.setattr(exchange, "PART", 0.1)  # several pairs at a time, so that good ones hide bad ones
    w[:, np.argsort(np.diag(h))[-10:]] = 0
    zero = w == 0
    mask = quadratic.smallest(np.where(zero, -1, np.random.default_rng(5).random(w.shape)), COLUMNS // 2)
    for group in (None, 8):
        swapped, exchanged = mask.copy(), mask.copy()
        assert swaps.improve(w, h, swapped, 1000, group) > ROWS and swapped[zero].all()
        v = exchange.improve(w, h, exchanged, exchange.leave_costs(h), 8, group)
        assert exchanged[zero].all() and (v[zero] == 0).all() and (exchanged != mask).any()
        assert (exchanged.sum(axis=1) == COLUMNS // 2).all()
    assert (refit.solve(w, h, mask & ~zero)[zero] == 0).all()


def test_rows_that_an_exchange_makes_worse_go_back(problem, monkeypatch):
    """Costs of nothing make it swap whatever it can, round after round."""
    monkeypatch.setattr(exchange, "PART", 0.4)
    w, h, mask = problem
    fitted, before = quadratic.cost(w - refit.solve(w, h, mask), h), mask.copy()
    v = exchange.improve(w, h, mask, np.zeros(COLUMNS, np.float32), 3)
    assert (quadratic.cost(w - v, h) <= fitted * (1 + 1e-3)).all() and (v[mask] == 0).all()
    assert (mask == before).all(axis=1).any()


def test_what_a_weight_costs_when_it_goes(problem):
    """v^2 / (H^-1)_qq, of the dense row: against fitting all others."""
    w, h, _ = problem
    costs = exchange.leave_costs(h)
    for q in (0, 17, 95):
        gone = np.zeros(w.shape, dtype=bool)
        gone[:, q] = True
        v = refit.solve(w, h, gone, iterations=300)
        assert np.allclose(quadratic.cost(w - v, h), np.square(w[:, q]) * costs[q], rtol=0.02)


def error_after(problem, steps):
    w, h, mask = problem
    mask, v = calibrated.take_steps(w, h, mask.copy(), sparsegpt.factor(h), exchange.leave_costs(h), steps, 0.5, None)
    return quadratic.cost(w - (np.where(mask, 0, w) if v is None else v), h).sum()


def test_no_step_undoes_the_one_before(problem):
    """Of all methods of two steps: those allowed are no worse than their first step; of those refused, sparsegpt gains
    nothing, and swaps has no weights to judge by."""
    refused = {}
    for pair in itertools.product(calibrated.STEPS, repeat=2):
        try:
            steps = calibrated.method_of("+".join(pair))
        except ValueError as error:
            refused[pair] = str(error)
            continue
        assert error_after(problem, steps) <= 1.001 * error_after(problem, pair[:1]), pair
    changing = [step for step in calibrated.STEPS if step != "swaps"]
    pairs = itertools.product
    assert set(refused) == {*pairs(calibrated.STEPS, ["swaps"]), *pairs(changing, ["sparsegpt"])}
    for step in changing:
        assert error_after(problem, (step, "sparsegpt")) >= 0.999 * error_after(problem, (step,))
        assert f"what {step} made of them would be lost" in refused[step, "sparsegpt"]


@pytest.mark.parametrize("text, why", [
    ("swaps+refit+sparsegpt", "what refit made"), ("swaps+sparsegpt+exchange+sparsegpt", "what exchange made"),
    ("swaps+swaps", "only be the first"), ("sparsegpt+refit+swaps", "only be the first"),
    ("refit+scores", "one or several"), ("refit+", "one or several"), ("", "one or several")])
def test_methods_that_make_no_sense(text, why):
    with pytest.raises(ValueError, match=why) as error:
        calibrated.method_of(text)
    assert str(error.value).endswith(f"not {text}")


@pytest.mark.parametrize("text", ["swaps", "swaps+sparsegpt+refit", "swaps+refit+exchange+refit", "exchange+exchange",
                                  "sparsegpt+exchange", "scores"])
def test_methods_that_do(text):
    assert calibrated.method_of(text) == (() if text == "scores" else tuple(text.split("+")))
