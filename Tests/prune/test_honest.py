"""What the tools say of odd inputs: importance matrices without numbers, -0, NaN, experts stored one by one, and what
was left."""

import json
import re
import struct
import subprocess
import sys

import gguf
import numpy as np
import pytest

from conftest import PRUNE, PRUNED, Type, prune, random_tensors, refused, tensors_of, weights_of, write_model
from test_choice import WRITERS, write_gguf

COLUMNS = 256


def report(folder, *paths):
    result = subprocess.run([sys.executable, PRUNE / "report.py", *paths, "--out", folder], capture_output=True,
                            text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout, json.loads((folder / "report.json").read_text())["models"]


@pytest.mark.parametrize("form", WRITERS)
def test_an_imatrix_of_zeros_is_no_imatrix(tmp_path, model, form):
    """Half of each row by Wanda's score would be the first half of it, whatever the weights."""
    rng = np.random.default_rng(5)
    means = {name: np.exp(rng.standard_normal(COLUMNS)).astype(np.float32) for name in PRUNED}
    means[PRUNED[1]][:] = 0
    before = model(Type.F32)
    told = prune(before, tmp_path / "out.gguf", "--imatrix", WRITERS[form](tmp_path / "imatrix", means))
    assert f"nothing but zeros for {PRUNED[1]} (the whole matrix): pruned by magnitude" in told
    prune(before, tmp_path / "plain.gguf")
    after, plain = (tensors_of(tmp_path / file) for file in ("out.gguf", "plain.gguf"))
    assert np.array_equal(after[PRUNED[1]].data, plain[PRUNED[1]].data)
    assert not np.array_equal(after[PRUNED[0]].data, plain[PRUNED[0]].data)


def test_an_expert_without_inputs_is_pruned_by_magnitude(tmp_path):
    name = "blk.0.ffn_up_exps.weight"
    w = np.random.default_rng(6).standard_normal((3, 16, COLUMNS), dtype=np.float32)
    mean = np.exp(2 * np.random.default_rng(7).standard_normal((3, COLUMNS))).astype(np.float32)
    mean[1] = 0
    before = write_model(tmp_path / "in.gguf", {name: w}, Type.F32)
    told = prune(before, tmp_path / "out.gguf", "--imatrix", write_gguf(tmp_path / "imatrix", {name: mean}))
    assert f"{name} (1 of 3 experts)" in told
    v = weights_of(tensors_of(tmp_path / "out.gguf")[name])
    for i, row_scores in ((0, np.abs(w[0]) * np.sqrt(mean[0])), (1, np.abs(w[1]))):
        for row, scores in zip(v[i] == 0, row_scores):
            assert scores[row].max() <= scores[~row].min() * (1 + 1e-5)


def test_counts_that_are_none_are_refused(tmp_path, model):
    before = model()
    means = {name: np.ones(COLUMNS, dtype=np.float32) for name in PRUNED}
    for count in (float("nan"), -1.0, float("inf")):
        path = write_gguf(tmp_path / "imatrix", means, counts=1)
        data = bytearray(path.read_bytes())
        reader = gguf.GGUFReader(path)
        at = next(tensor.data_offset for tensor in reader.tensors if tensor.name == PRUNED[0] + ".counts")
        del reader
        data[at:at + 4] = struct.pack("<f", count)
        path.write_bytes(data)
        sentence = refused(before, before, tmp_path / "x", "--imatrix", path)
        assert PRUNED[0] in sentence and "count" in sentence, count
    name = PRUNED[0].encode()
    path.write_bytes(struct.pack("<ii", 1, len(name)) + name + struct.pack("<ii", -7, COLUMNS) + bytes(4 * COLUMNS))
    assert "a count of -7" in refused(before, before, tmp_path / "x", "--imatrix", path)


@pytest.mark.parametrize("kind", [Type.F32, Type.F16, Type.BF16, Type.MXFP4], ids=lambda kind: kind.name)
def test_minus_zero_is_counted_and_its_remedy_named(tmp_path, kind):
    w = random_tensors()[PRUNED[0]]
    w[:, ::2] *= 0
    before = write_model(tmp_path / "in.gguf", {PRUNED[0]: w}, kind)
    if kind == Type.MXFP4:  # its quantizer writes no -0: code 8
        reader = gguf.GGUFReader(before, "r+")
        blocks = reader.tensors[0].data.reshape(-1, 17)
        blocks[:, 1:][blocks[:, 1:] & 15 == 0] |= 8
        negative = int((blocks[:, 1:] & 15 == 8).sum())
        reader.data.flush()
        del reader, blocks
    else:
        stored = weights_of(tensors_of(before)[PRUNED[0]])
        negative = int((np.signbit(stored) & (stored == 0)).sum())
    assert negative > 1000
    told, _ = report(tmp_path / "r", before)
    assert f"{negative} weights are -0" in told and "--share 0" in told
    told = prune(before, tmp_path / "out.gguf", "--share", "0")
    assert f"{negative} weights of" in told and "--share 0" in told
    told, _ = report(tmp_path / "r", tmp_path / "out.gguf")
    assert "-0" not in told


def test_the_remedy_for_minus_zero_reaches_all_matrices(tmp_path):
    """The embedding too, which is not pruned unless it is named."""
    tensors = random_tensors()
    for name in ("token_embd.weight", "output.weight", PRUNED[0]):
        tensors[name][:, ::2] *= 0
    before = write_model(tmp_path / "in.gguf", tensors, Type.BF16)
    told, _ = report(tmp_path / "r", before)
    remedy = re.search(r"prune.py in.gguf CLEAN.gguf (.*) turns them into zeros", told)[1]
    told = prune(before, tmp_path / "out.gguf", *remedy.split())
    assert f"({remedy} does that" in told
    told, _ = report(tmp_path / "r", tmp_path / "out.gguf")
    assert "-0" not in told
    old, new = (tensors_of(path) for path in (before, tmp_path / "out.gguf"))
    assert all(np.array_equal(weights_of(old[name]), weights_of(new[name])) for name in old)
    text = (PRUNE / "README.md").read_text()
    assert f"prune.py model.gguf clean.gguf {remedy}`" in text


def test_experts_that_are_tensors_of_their_own(tmp_path):
    """Older files of mixtures have them; the imatrix has them together."""
    rng = np.random.default_rng(9)
    names = [f"blk.0.ffn_{part}.{i}.weight" for part in ("gate", "up", "down") for i in range(2)]
    tensors = {name: rng.standard_normal((8, COLUMNS), dtype=np.float32) for name in names}
    before = write_model(tmp_path / "in.gguf", tensors, Type.F32)
    assert "6 of 6 matrices pruned" in prune(before, tmp_path / "out.gguf")
    means = {f"blk.0.ffn_{part}_exps.weight": np.exp(2 * rng.standard_normal((2, COLUMNS))).astype(np.float32)
             for part in ("gate", "up", "down")}
    prune(before, tmp_path / "out.gguf", "--force", "--imatrix", write_gguf(tmp_path / "imatrix", means))
    for name in names:
        kind, i = name.split(".")[2:4]
        scores = np.abs(tensors[name]) * np.sqrt(means[f"blk.0.{kind}_exps.weight"][int(i)])
        zero = weights_of(tensors_of(tmp_path / "out.gguf")[name]) == 0
        for row, score in zip(zero, scores):
            assert row.sum() == COLUMNS // 2 and score[row].max() <= score[~row].min() * (1 + 1e-5)


def test_what_was_left_is_named(tmp_path):
    tensors = random_tensors()
    tensors |= {f"blk.{i}.ffn_gate_inp.weight": np.ones((4, COLUMNS), dtype=np.float32) for i in range(3)}
    before = write_model(tmp_path / "in.gguf", tensors, Type.BF16)
    told = prune(before, tmp_path / "out.gguf", "--exclude", "attn").splitlines()[-1]
    assert "2 of 8 matrices pruned" in told
    left = told.split("left as they are: ")[1]
    assert set(left.split(", ")) == {"token_embd (BF16)", "attn_q (BF16)", "output (BF16)",
                                     "ffn_gate_inp (3 of BF16)"}


@pytest.mark.parametrize("kind", [Type.F32, Type.BF16, Type.Q8_0], ids=lambda kind: kind.name)
def test_weights_that_are_no_numbers_are_named(tmp_path, kind):
    w = random_tensors()[PRUNED[0]]
    if kind != Type.Q8_0:
        w[3, 5], w[4, 6] = np.nan, np.inf
    before = write_model(tmp_path / "in.gguf", {PRUNED[0]: w, PRUNED[1]: np.abs(w)[:1]}, kind)
    n = 2
    if kind == Type.Q8_0:  # a scale that is NaN
        reader = gguf.GGUFReader(before, "r+")
        next(t for t in reader.tensors if t.name == PRUNED[0]).data.reshape(-1, 34)[7, :2] = (0, 0x7e)
        reader.data.flush()
        del reader
        n = 32
    for scope in ("row", "tensor", "model"):
        told = prune(before, tmp_path / "out.gguf", "--scope", scope, "--force")
        assert f"NaN or infinite in {PRUNED[0]} ({n})" in told and PRUNED[1] + " (" not in told
