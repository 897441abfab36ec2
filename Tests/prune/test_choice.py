"""The right weights go: compared with sorting everything."""

import struct

import gguf
import numpy as np
import pytest

from conftest import PRUNED, Type, prune, random_tensors, refused, tensors_of, weights_of, write_model

COLUMNS = 256


def masks(path, before):
    """{tensor: which weights became zero}"""
    after = tensors_of(path)
    return {name: (weights_of(after[name]) == 0) & (weights_of(tensor) != 0)
            for name, tensor in tensors_of(before).items()}


def check_smallest(mask, scores, n):
    """Exactly n went, and none of them had a larger score than any that stayed."""
    assert mask.sum() == n
    if 0 < n < mask.size:
        assert scores[mask].max() <= scores[~mask].min()


def scores_of(before, norms=None):
    found = {name: np.abs(weights_of(tensor)) for name, tensor in tensors_of(before).items()}
    return {name: score * norms[name] if norms and name in norms else score for name, score in found.items()}


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.77, 0.99])
def test_rows(tmp_path, model, share):
    before = model(Type.F32)
    prune(before, tmp_path / "out.gguf", "--share", share)
    scores = scores_of(before)
    for name, mask in masks(tmp_path / "out.gguf", before).items():
        if name not in PRUNED:
            assert not mask.any()
            continue
        for row, score in zip(mask, scores[name]):
            check_smallest(row, score, round(share * COLUMNS))


@pytest.mark.parametrize("kind", [Type.F32, Type.BF16, Type.Q4_0], ids=lambda kind: kind.name)
@pytest.mark.parametrize("share", [0.001, 0.4, 0.8])
def test_tensor(tmp_path, model, kind, share):
    """Q4_0 has many equal magnitudes: the count is exact all the same."""
    before = model(kind)
    prune(before, tmp_path / "out.gguf", "--share", share, "--scope", "tensor")
    scores, found = scores_of(before), masks(tmp_path / "out.gguf", before)
    for name in PRUNED:
        zero = scores[name] == 0
        check_smallest(found[name] | zero, scores[name], max(round(share * scores[name].size), zero.sum()))


@pytest.mark.parametrize("kind", [Type.F32, Type.Q8_0], ids=lambda kind: kind.name)
def test_model(tmp_path, model, kind):
    """One threshold: the tensor of small weights loses most, that of large ones least."""
    before = model(kind)
    prune(before, tmp_path / "out.gguf", "--share", 0.5, "--scope", "model")
    scores, found = scores_of(before), masks(tmp_path / "out.gguf", before)
    all_scores = np.concatenate([scores[name].ravel() for name in PRUNED])
    mask = np.concatenate([(found[name] | (scores[name] == 0)).ravel() for name in PRUNED])
    check_smallest(mask, all_scores, all_scores.size // 2)
    shares = [found[name].mean() for name in PRUNED]
    assert shares[0] > 0.6 > shares[2] > 0.4 > shares[1]


@pytest.mark.parametrize("keep, group", [(2, 4), (4, 8)])
@pytest.mark.parametrize("kind", [Type.F32, Type.Q8_0, Type.Q4_1], ids=lambda kind: kind.name)
def test_patterns(tmp_path, model, keep, group, kind):
    before = model(kind)
    prune(before, tmp_path / "out.gguf", "--pattern", f"{keep}:{group}")
    scores, after = scores_of(before), tensors_of(tmp_path / "out.gguf")
    for name in PRUNED:
        zero = (weights_of(after[name]) == 0).reshape(-1, group)
        assert (zero.sum(axis=1) >= group - keep).all()
        if kind == Type.F32:
            for mask, score in zip(zero, scores[name].reshape(-1, group)):
                check_smallest(mask, score, group - keep)


def test_pattern_that_does_not_fit(tmp_path):
    w = np.ones((4, 36), dtype=np.float32)
    before = write_model(tmp_path / "in.gguf", {"blk.0.ffn_up.weight": w}, Type.F32)
    prune(before, tmp_path / "out.gguf", "--pattern", "2:4")
    assert "36" in refused(before, before, tmp_path / "no.gguf", "--pattern", "4:8")


# -- Wanda -------------------------------------------------------------------------------------------------------------

def write_legacy(path, means):
    data = struct.pack("<i", len(means))
    for calls, (name, mean) in zip((7, 70, 700), means.items()):
        data += struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", calls, mean.size)
        data += (mean * calls).astype("<f4").tobytes()
    path.write_bytes(data + struct.pack("<ii", calls, 4) + b"text")
    return path


def write_gguf(path, means, counts=1000):
    writer = gguf.GGUFWriter(path, "imatrix")
    for name, mean in means.items():
        mean = mean.reshape(-1, COLUMNS).astype(np.float32)
        writer.add_tensor(name + ".in_sum2", mean * np.float32(counts))
        writer.add_tensor(name + ".counts", np.full((len(mean), 1), counts, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


WRITERS = {"legacy": write_legacy, "gguf": write_gguf}


@pytest.fixture
def means():
    rng = np.random.default_rng(5)
    return {name: np.exp(2 * rng.standard_normal(COLUMNS)).astype(np.float32) for name in PRUNED}


@pytest.mark.parametrize("scope", ["row", "tensor", "model"])
@pytest.mark.parametrize("form", WRITERS)
def test_wanda(tmp_path, model, means, form, scope):
    before = model(Type.F32)
    prune(before, tmp_path / "out.gguf", "--imatrix", WRITERS[form](tmp_path / "imatrix", means), "--scope", scope)
    scores = scores_of(before, {name: np.sqrt(mean) for name, mean in means.items()})
    found = masks(tmp_path / "out.gguf", before)
    by_magnitude = scores_of(before)
    for name in PRUNED:
        if scope == "row":
            for mask, score in zip(found[name], scores[name]):
                assert mask.sum() == COLUMNS // 2
                assert score[mask].max() <= score[~mask].min() * (1 + 1e-5)
        elif scope == "tensor":
            assert found[name].sum() == scores[name].size // 2
            assert scores[name][found[name]].max() <= scores[name][~found[name]].min() * (1 + 1e-5)
        assert by_magnitude[name][found[name]].max() > by_magnitude[name][~found[name]].min()  # not by magnitude


def test_both_formats_agree(tmp_path, model, means):
    before = model(Type.BF16)
    for form, writer in WRITERS.items():  # one threshold for all: sums over other numbers of calls must be comparable
        prune(before, tmp_path / f"{form}.gguf", "--imatrix", writer(tmp_path / "imatrix", means), "--scope", "model")
    legacy, new = (tensors_of(tmp_path / f"{form}.gguf") for form in WRITERS)
    for name in PRUNED:
        assert np.array_equal(legacy[name].data, new[name].data)


@pytest.mark.parametrize("form", WRITERS)
def test_experts_have_norms_of_their_own(tmp_path, form):
    rng = np.random.default_rng(6)
    w = rng.standard_normal((3, 16, COLUMNS), dtype=np.float32)
    mean = np.ones((3, COLUMNS), dtype=np.float32)
    mean[1, :100] = 1e6
    mean[2, 100:] = 1e6
    name = "blk.0.ffn_up_exps.weight"
    before = write_model(tmp_path / "in.gguf", {name: w}, Type.F32)
    prune(before, tmp_path / "out.gguf", "--imatrix", WRITERS[form](tmp_path / "imatrix", {name: mean}), "--share", 0.3)
    zero = weights_of(tensors_of(tmp_path / "out.gguf")[name]) == 0
    scores = np.abs(w) * np.sqrt(mean)[:, None, :]
    for mask, score in zip(zero.reshape(-1, COLUMNS), scores.reshape(-1, COLUMNS)):
        check_smallest(mask, score, round(0.3 * COLUMNS))
    assert not zero[1, :, :100].any() and not zero[2, :, 156:].all()


@pytest.mark.parametrize("form", WRITERS)
def test_broken_imatrix(tmp_path, model, means, form):
    before = model()
    path = WRITERS[form](tmp_path / "imatrix", means)
    whole = path.read_bytes()
    for length in (0, 3, 4, 9, 30, 200, len(whole) // 2):
        path.write_bytes(whole[:length])
        refused(before, before, tmp_path / "out.gguf", "--imatrix", path)
    path.write_bytes(whole)
    del means[PRUNED[1]]
    assert PRUNED[1] in refused(before, before, tmp_path / "out.gguf", "--imatrix", WRITERS[form](path, means))
    means[PRUNED[1]] = np.ones(2 * COLUMNS if form == "gguf" else COLUMNS + 1)
    assert PRUNED[1] in refused(before, before, tmp_path / "out.gguf", "--imatrix", WRITERS[form](path, means))
    means[PRUNED[1]] = np.full(COLUMNS, np.nan)
    assert "no number" in refused(before, before, tmp_path / "out.gguf", "--imatrix", WRITERS[form](path, means))
    assert "cannot be read" in refused(before, before, tmp_path / "out.gguf", "--imatrix", tmp_path / "nowhere")


# -- which tensors -----------------------------------------------------------------------------------------------------

def zeros_by_tensor(path):
    return {name: float((weights_of(tensor) == 0).mean()) for name, tensor in tensors_of(path).items()}


def test_include_and_exclude(tmp_path, model):
    before = model(Type.F32)
    prune(before, tmp_path / "a.gguf", "--include", "ffn_|^output", "--exclude", "down")
    zeros = zeros_by_tensor(tmp_path / "a.gguf")
    assert {name for name, share in zeros.items() if share} == {"blk.0.ffn_up.weight", "output.weight"}
    assert "no tensor" in refused(before, before, tmp_path / "b.gguf", "--include", "nonsense")


def test_shares_by_tensor(tmp_path, model):
    shares = tmp_path / "shares"
    shares.write_text("# the first layer bears less\nblk\\.0\\.ffn 0.25\n\nblk.0 0   # the first fit counts\n")
    before = model(Type.F32)
    prune(before, tmp_path / "out.gguf", "--shares", shares, "--share", 0.75)
    zeros = zeros_by_tensor(tmp_path / "out.gguf")
    assert [zeros[name] for name in PRUNED] == [0, 0.25, 0.75]
    for line in ("blk 1.5", "blk", "( 0.5", "blk 0.5 0.5", "blk nan"):
        shares.write_text(line)
        assert "line 1" in refused(before, before, tmp_path / "no.gguf", "--shares", shares)


def test_result_does_not_depend_on_threads(tmp_path):
    rng = np.random.default_rng(8)
    tensors = {f"blk.0.{name}.weight": rng.standard_normal((3000, 2048), dtype=np.float32)
               for name in ("attn_q", "ffn_up")}
    before = write_model(tmp_path / "in.gguf", tensors, Type.BF16)  # three chunks each
    for scope in ("row", "tensor", "model"):
        results = set()
        for threads in (1, 3):
            prune(before, tmp_path / "out.gguf", "--scope", scope, "--threads", threads, "--force", "--share", 0.6)
            results.add((tmp_path / "out.gguf").read_bytes())
        assert len(results) == 1
        zeros = sum((weights_of(tensor) == 0).sum() for tensor in tensors_of(tmp_path / "out.gguf").values())
        assert zeros == 2 * (3000 * round(0.6 * 2048) if scope == "row" else round(0.6 * 3000 * 2048))


def test_weights_that_are_no_numbers_stay(tmp_path):
    w = random_tensors()["blk.0.ffn_up.weight"]
    w[3, 5], w[4, 6] = np.nan, np.inf
    before = write_model(tmp_path / "in.gguf", {"blk.0.ffn_up.weight": w}, Type.F32)
    for scope in ("row", "tensor", "model"):
        prune(before, tmp_path / "out.gguf", "--share", 0.99, "--scope", scope, "--force")
        after = weights_of(tensors_of(tmp_path / "out.gguf")["blk.0.ffn_up.weight"])
        assert np.isnan(after[3, 5]) and np.isinf(after[4, 6])
