"""Every type that the gguf package can quantize stays in its type, and a pruned weight is exactly the type's zero."""

import subprocess
import sys

import gguf
import numpy as np
import pytest

from codes import PRUNABLE
from conftest import PRUNE, PRUNED, Type, prune, refused, random_tensors, tensors_of, weights_of, write_model


def can_quantize(kind):
    try:
        gguf.quantize(np.ones((1, 256), dtype=np.float32), kind)
        return True
    except (NotImplementedError, TypeError):
        return False


QUANTIZABLE = [kind for kind in Type if can_quantize(kind)]
WITH_MINIMUM = (Type.Q4_1, Type.Q5_1)
WITHOUT_MINIMUM = [kind for kind in QUANTIZABLE if kind not in WITH_MINIMUM]


def halves(nibbles):
    return np.concatenate([nibbles & 15, nibbles >> 4], axis=1)


def fifth_bits(high):
    return np.unpackbits(high, axis=1, bitorder="little") << 4


# Codes from a block's bytes, and the one that means zero, written down from ggml's headers and not from codes.py.
CODES = {
    Type.Q8_0: (lambda b: b[:, 2:], 0),
    Type.Q4_0: (lambda b: halves(b[:, 2:]), 8),
    Type.Q5_0: (lambda b: halves(b[:, 6:]) | fifth_bits(b[:, 2:6]), 16),
    Type.MXFP4: (lambda b: halves(b[:, 1:]), 0),
    Type.TQ2_0: (lambda b: np.concatenate([(b[:, i:i + 32] >> shift) & 3 for i in (0, 32) for shift in (0, 2, 4, 6)],
                                          axis=1), 1),
}


def keep_of(kind):
    """Weights kept of a row of 256. Of ternary weights more than half are zero to begin with."""
    return 26 if kind in (Type.TQ1_0, Type.TQ2_0) else 128


def pruned_pair(tmp_path, kind):
    before = write_model(tmp_path / "in.gguf", random_tensors(), kind)
    after = tmp_path / "out.gguf"
    prune(before, after, "--share", 1 - keep_of(kind) / 256)
    before, after = tensors_of(before), tensors_of(after)
    for name in PRUNED:
        assert after[name].tensor_type == before[name].tensor_type
        yield before[name], after[name]


def test_all_types_are_known():
    assert set(QUANTIZABLE) == PRUNABLE


@pytest.mark.parametrize("kind", QUANTIZABLE, ids=lambda kind: kind.name)
def test_pruned_weights_are_zero_and_the_rest_survives(tmp_path, kind):
    for before, after in pruned_pair(tmp_path, kind):
        w, pruned = weights_of(before), weights_of(after)
        keep = keep_of(kind)
        assert ((pruned == 0).sum(axis=1) >= 256 - keep).all()
        assert (pruned != 0).sum() > 0.6 * keep * len(w)
        largest = np.sort(np.abs(w), axis=1)[:, ::-1]
        kept = np.abs(w) > largest[:, keep - 1:keep]  # no ties with what goes
        if kind in WITH_MINIMUM:
            step = (w.max() - w.min()) / (15 if kind == Type.Q4_1 else 31)
            assert np.abs(pruned - w)[kept].max() < 0.6 * step
            assert np.abs(pruned - w)[kept].mean() < 0.2 * step
        else:
            assert np.array_equal(pruned[kept], w[kept])
            # Nothing but zeros is new: each weight is what it was, or zero.
            assert ((pruned == w) | (pruned == 0)).all()


@pytest.mark.parametrize("kind", [Type.F32, Type.F16, Type.BF16], ids=lambda kind: kind.name)
def test_zero_has_no_sign(tmp_path, kind):
    """-0 would be a value for a bitmap of what is not zero."""
    for _, after in pruned_pair(tmp_path, kind):
        raw = after.data.view(np.uint32 if kind == Type.F32 else np.uint16)
        assert (raw == 0).sum() == raw.size // 2


@pytest.mark.parametrize("kind", [Type.F32, Type.F16, Type.BF16, Type.MXFP4], ids=lambda kind: kind.name)
def test_negative_zeros_become_zeros(tmp_path, kind):
    """PyTorch models pruned by multiplying with a mask are full of them. With --share 0 nothing else changes."""
    w = random_tensors()["blk.0.ffn_up.weight"]
    w[:, ::2] *= 0
    assert (np.signbit(w) & (w == 0)).sum() > w.size / 8
    before = write_model(tmp_path / "in.gguf", {"blk.0.ffn_up.weight": w}, kind)
    if kind == Type.MXFP4:  # its quantizer writes no -0: code 8
        reader = gguf.GGUFReader(before, "r+")
        blocks = reader.tensors[0].data.reshape(-1, 17)
        blocks[:, 1:][blocks[:, 1:] & 15 == 0] |= 8
        reader.data.flush()
        del reader, blocks
    prune(before, tmp_path / "out.gguf", "--share", 0)
    files = [tensors_of(path)["blk.0.ffn_up.weight"] for path in (before, tmp_path / "out.gguf")]
    old, new = map(weights_of, files)
    assert np.array_equal(old, new)
    if kind == Type.MXFP4:  # the package decodes both to the same
        codes = [CODES[kind][0](tensor.data.reshape(-1, 17)) for tensor in files]
        assert (codes[0] == 8).any() and not (codes[1] == 8).any()
    else:
        assert (np.signbit(old) & (old == 0)).any() and not (np.signbit(new) & (new == 0)).any()


@pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.name)
def test_zero_is_the_code_of_zero(tmp_path, kind):
    read, zero = CODES[kind]
    block, n_bytes = gguf.GGML_QUANT_SIZES[kind]
    for before, after in pruned_pair(tmp_path, kind):
        old, new = before.data.reshape(-1, n_bytes), after.data.reshape(-1, n_bytes)
        old_codes, new_codes = read(old), read(new)
        changed = old_codes != new_codes
        assert changed.any()
        assert (new_codes[changed] == zero).all()
        assert (new_codes == zero).sum() >= old_codes.size // 2
        if kind != Type.TQ2_0:  # its scale becomes zero with the last weight of a block
            head = n_bytes - new_codes.shape[1] // (1 if kind == Type.Q8_0 else 2) - (4 if kind == Type.Q5_0 else 0)
            assert np.array_equal(old[:, :head], new[:, :head])


@pytest.mark.parametrize("kind", WITH_MINIMUM, ids=lambda kind: kind.name)
def test_blocks_with_minimum(tmp_path, kind):
    """One-sided blocks, tiny and large ones, and blocks of which nothing is left."""
    rng = np.random.default_rng(3)
    w = rng.standard_normal((64, 256), dtype=np.float32)
    w[0:8] = np.abs(w[0:8])
    w[8:16] = -np.abs(w[8:16])
    w[16:24] *= 1e-6
    w[24:32] *= 1e3
    w[32:40, :64] *= 1e-3
    w[40:48] = 0.25
    before = write_model(tmp_path / "in.gguf", {"blk.0.ffn_up.weight": w}, kind)
    for share in (0.3, 0.9):
        after = tmp_path / f"{share}.gguf"
        prune(before, after, "--share", share)
        old, new = (weights_of(tensors_of(path)["blk.0.ffn_up.weight"]) for path in (before, after))
        assert np.isfinite(new).all()
        assert ((new == 0).sum(axis=1) >= round(share * 256)).all()
        blocks, kept = old.reshape(-1, 32), new.reshape(-1, 32) != 0
        step = np.abs(blocks).max(axis=1, keepdims=True) * 2 / (15 if kind == Type.Q4_1 else 31) + 2**-22
        assert (np.abs(blocks - new.reshape(-1, 32)) < 0.6 * step)[kept].all()


@pytest.mark.parametrize("kind, n_bytes", [(Type.Q4_K, 144), (Type.Q6_K, 210), (Type.IQ4_NL, 18)], ids=str)
def test_other_types_stay_as_they_are(tmp_path, kind, n_bytes):
    block = gguf.GGML_QUANT_SIZES[kind][0]
    assert gguf.GGML_QUANT_SIZES[kind][1] == n_bytes
    path = tmp_path / "in.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("blk.0.attn_q.weight", np.full((4, 256 // block * n_bytes), 7, dtype=np.uint8), raw_dtype=kind)
    writer.add_tensor("blk.0.ffn_up.weight", np.ones((4, 256), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    told = prune(path, tmp_path / "out.gguf")
    assert "1 of 2 matrices pruned" in told and f"left as they are: attn_q ({kind.name})" in told
    before, after = (tensors_of(file)["blk.0.attn_q.weight"].data for file in (path, tmp_path / "out.gguf"))
    assert np.array_equal(before, after)
    # Where nothing else is left to prune, advice is all that there is.
    sentence = refused(tmp_path / "x", path, tmp_path / "x", "--exclude", "ffn_up")
    assert kind.name in sentence and "llama-quantize" in sentence


def test_report_leaves_bytes_of_unknown_types_uncounted(tmp_path):
    """What lies up to the next tensor need not divide into the tensor's rows: 47 of them here."""
    path = write_model(tmp_path / "in.gguf", random_tensors(rows=47), Type.Q8_0)
    field = next(tensor.field for tensor in gguf.GGUFReader(path).tensors if tensor.name == PRUNED[1])
    whole = bytearray(path.read_bytes())
    at = field.offset + sum(part.nbytes for part in field.parts[:4])
    whole[at:at + 4] = (999).to_bytes(4, "little")
    path.write_bytes(whole)
    told = subprocess.run([sys.executable, PRUNE / "report.py", path, "--out", tmp_path / "r"], text=True,
                          capture_output=True)
    assert told.returncode == 0 and "1 of 5 matrices are not counted" in told.stdout, told.stderr
    assert "type 999" in told.stdout


def test_a_type_that_nobody_knows_stays_as_it_is(tmp_path):
    """As written by forks of llama.cpp: its tensor is what lies up to the next one."""
    path = write_model(tmp_path / "in.gguf", random_tensors(), Type.Q8_0)
    info = gguf.GGUFReader(path)
    field = next(tensor.field for tensor in info.tensors if tensor.name == PRUNED[1])
    whole = bytearray(path.read_bytes())
    at = field.offset + sum(part.nbytes for part in field.parts[:4])
    begin = info.data_offset + int(field.parts[5][0])
    n_bytes = 48 * 256 // 32 * 34
    del info
    for number in (4, 137, 999):
        whole[at:at + 4] = number.to_bytes(4, "little")
        path.write_bytes(whole)
        told = prune(path, tmp_path / "out.gguf", "--force")
        assert "2 of 5 matrices pruned" in told and f"ffn_up (type {number})" in told
        after = (tmp_path / "out.gguf").read_bytes()
        shift = len(after) - len(whole)
        assert after[begin + shift:begin + shift + n_bytes] == whole[begin:begin + n_bytes]
        assert after[begin + shift + n_bytes:] != whole[begin + n_bytes:]
        told = subprocess.run([sys.executable, PRUNE / "report.py", path, "--out", tmp_path / "r"], text=True,
                              capture_output=True)
        assert told.returncode == 0 and f"type {number}" in told.stdout, told.stderr
