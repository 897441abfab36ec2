"""The sums against numpy in double precision."""

import numpy as np
import pytest

from conftest import Session, activations, is_close


@pytest.mark.parametrize("way, k", [*(("usual", k) for k in (1, 3, 63, 64, 65, 200, 577)), ("sse2", 65), ("sse2", 200),
                                    ("address", 65), ("address", 200), ("thread", 65)])
def test_columns_and_batches(programs, tmp_path, way, k):
    """Batches of one row, of few, of as many as wait at most, and of more; a last one that waits until the end."""
    session = Session(programs, tmp_path, way)
    batches = [activations(i, rows, k) for i, rows in enumerate((5, 1, 511, 512, 513, 1500, 7))]
    lines = ["threads 3"]
    for batch in batches:
        lines += [session.x(1, batch), f"product blk.0.ffn_down.weight 0 {k} 1 1"]
    said = session.run(lines)
    grams, x = session.grams(), np.concatenate(batches)
    assert grams.count("blk.0.ffn_down.weight") == grams.tokens == len(x)
    assert is_close(grams.gram("blk.0.ffn_down.weight"), x)
    assert "from 3049 tokens" in said[-1] and "1 of 1 matrices" in said[-1] and session.left() == []


def test_threads_do_not_matter(programs, tmp_path):
    x = activations(1, 700, 130)
    found = []
    for threads in (1, 2, 5):
        (tmp_path / str(threads)).mkdir()
        session = Session(programs, tmp_path / str(threads))
        session.run([f"threads {threads}", session.x(1, x), "product a.weight 0 130 1 1"])
        found.append(session.grams().gram("a.weight"))
    assert all((other == found[0]).all() for other in found)


def test_many_tokens_lose_nothing(session):
    """The error of a sum in float32 would grow with the number of batches. The same batch 300 times."""
    x = activations(2, 400, 64) + 1
    session.run(["threads 2", session.x(1, x), *["product a.weight 0 64 1 1"] * 300])
    wanted = 300 * (x.astype(np.float64).T @ x.astype(np.float64))
    scale = np.sqrt(np.outer(np.diag(wanted), np.diag(wanted)))
    assert np.abs(session.grams().gram("a.weight") - wanted).max() <= 1e-6 * scale.max()
    assert (np.abs(session.grams().gram("a.weight") - wanted) <= 1e-6 * scale).all()


def test_rows_of_more_dimensions(session):
    """Weights that are used for all of them, and one matrix for each of them."""
    x = activations(3, 6, 70, 96)
    session.run(["threads 2", session.x(1, x), "product a.weight 0 96 1 1", "product b.weight 0 96 3 1"])
    grams = session.grams()
    assert is_close(grams.gram("a.weight"), x) and grams.experts("b.weight") == [0, 1, 2]
    for i in range(3):  # two of the six for each matrix
        assert is_close(grams.gram("b.weight", i), x[2 * i:2 * i + 2]) and grams.count("b.weight", i) == 140


@pytest.mark.parametrize("way", ["usual", "address", "thread"])
def test_experts(programs, tmp_path, way):
    """Up and gate have one row for all experts of a token, down has one for each; an expert that nobody wants."""
    session = Session(programs, tmp_path, way)
    rng = np.random.default_rng(4)
    lines, seen = ["threads 3"], []
    for i, tokens in enumerate((300, 1, 260)):
        x, h = activations(i, tokens, 1, 96), activations(i + 9, tokens, 2, 160)
        ids = np.array([rng.permutation([0, 1, 2, 4])[:2] for _ in range(tokens)])
        lines += [session.x(1, x), session.x(2, h), session.ids(3, ids), "reshape 4 1 96 1 %d" % tokens,
                  "product up_exps.weight 0 96 5 1 3", "product gate_exps.weight 0 96 5 4 3",
                  "product down_exps.weight 0 160 5 2 3"]
        seen.append((x, h, ids))
    session.run(lines)
    grams = session.grams()
    assert grams.source("gate_exps.weight") == "up_exps.weight" != grams.source("down_exps.weight")
    ids = np.concatenate([part[2] for part in seen])
    x = np.repeat(np.concatenate([part[0] for part in seen]), 2, axis=1)
    h = np.concatenate([part[1] for part in seen])
    for expert in (0, 1, 2, 4):
        assert is_close(grams.gram("up_exps.weight", expert), x[ids == expert])
        assert is_close(grams.gram("down_exps.weight", expert), h[ids == expert])
        assert grams.count("gate_exps.weight", expert) == (ids == expert).sum()
    assert grams.count("up_exps.weight", 3) == 0 and not grams.gram("up_exps.weight", 3).any()
    assert grams.experts("down_exps.weight") == [0, 1, 2, 4] and grams.tokens == 561
