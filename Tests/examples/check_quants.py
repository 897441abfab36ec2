#!/usr/bin/env python3
"""check_quants.py LIBRARY - checks examples/common/quants*.c and pruned.c, compiled into a shared library, against the
PyPI package gguf: what random blocks decode to, that codes can be written back, and that pruning gives the share asked
for.
"""
import ctypes
import sys

import gguf
import numpy as np

from checks import check, end

TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL", "MXFP4", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"]
# The code of a pruned weight, as examples/common counts codes (Q8_0: with 128 added). None: each group has its own.
BACKGROUND = {"Q4_0": 8, "Q5_0": 16, "Q8_0": 128, "Q6_K": 32, "Q3_K": 4, "IQ4_NL": 8, "IQ4_XS": 8, "MXFP4": 0}
BLOCKS = 400


class QuantType(ctypes.Structure):
    """quant_type of quants.h."""
    _fields_ = [("type", ctypes.c_uint32), ("block", ctypes.c_uint16), ("bytes", ctypes.c_uint16),
                ("group", ctypes.c_uint16), ("n_codes", ctypes.c_uint16), ("bits", ctypes.c_uint16),
                ("background", ctypes.c_int16), ("offset", ctypes.c_int16), ("values", ctypes.c_void_p),
                ("get_codes", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)),
                ("put_codes", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p))]


def address(array):
    return array.ctypes.data_as(ctypes.c_void_p)


def same(a, b):
    """Bit for bit, but for the payload of NaN."""
    return np.array_equal(np.isnan(a), np.isnan(b)) and np.array_equal(
        np.where(np.isnan(a), 0, a).view(np.uint32), np.where(np.isnan(b), 0, b).view(np.uint32))


def decode(library, kind, blocks):
    k = blocks.shape[0] * gguf.GGML_QUANT_SIZES[kind][0]
    out = np.full(k, np.nan, dtype=np.float32)
    library.plain_to_float(ctypes.c_uint32(kind), address(blocks), ctypes.c_int64(k), address(out))
    return out


def each_block(q, blocks, codes, function):
    for i in range(len(blocks)):
        function(blocks.ctypes.data + i * q.bytes, codes.ctypes.data + i * q.block)


def check_layout(library, name, rng):
    """Random blocks, random scale bytes included: the values, and the codes there and back."""
    kind = gguf.GGMLQuantizationType[name]
    block, size = gguf.GGML_QUANT_SIZES[kind]
    q = library.quant_find(ctypes.c_uint32(kind)).contents
    check((q.type, q.block, q.bytes) == (kind, block, size), f"{name}: block of {q.block} weights and {q.bytes} bytes")
    blocks = rng.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
    with np.errstate(all="ignore"):
        wanted = gguf.quants.dequantize(blocks, kind).astype(np.float32).reshape(-1)
    check(same(decode(library, kind, blocks), wanted), f"{name}: other values than gguf's")

    codes = np.zeros((BLOCKS, block), dtype=np.uint8)
    each_block(q, blocks, codes, q.get_codes)
    check(len(np.unique(codes)) == q.n_codes, f"{name}: {len(np.unique(codes))} different codes, not {q.n_codes}")
    check(1 << q.bits == q.n_codes, f"{name}: bits")
    changed = blocks.copy()
    other = rng.integers(0, q.n_codes, codes.shape, dtype=np.uint8)
    each_block(q, changed, other, q.put_codes)
    back = np.zeros_like(codes)
    each_block(q, changed, back, q.get_codes)
    check(np.array_equal(back, other), f"{name}: codes written are not the codes read")
    each_block(q, changed, codes, q.put_codes)
    check(np.array_equal(changed, blocks), f"{name}: writing codes changes other bits")


def count_background(library, name, row, k):
    kind = gguf.GGMLQuantizationType[name]
    q = library.quant_find(ctypes.c_uint32(kind)).contents
    codes = np.zeros((len(row), q.block), dtype=np.uint8)
    each_block(q, row, codes, q.get_codes)
    if name in BACKGROUND:
        own = int((codes == BACKGROUND[name]).sum())
    else:
        own = sum(int(np.bincount(group).max()) for group in codes.reshape(-1, q.group))
    library.quant_count_background.restype = ctypes.c_int64
    return own, library.quant_count_background(ctypes.byref(q), address(row), ctypes.c_int64(k))


def check_pruning(library, name, share):
    """As many weights as asked for are (about) zero and count as background; the rest are of the size of real ones."""
    kind = gguf.GGMLQuantizationType[name]
    block, size = gguf.GGML_QUANT_SIZES[kind]
    k, zeros = BLOCKS * block, round(BLOCKS * block * share)
    row, scratch, state = np.zeros((BLOCKS, size), dtype=np.uint8), np.zeros(k, dtype=np.uint8), ctypes.c_uint64(5)
    number, length = ctypes.c_uint32(kind), ctypes.c_int64(k)
    library.pruned_random(number, address(row), length, ctypes.byref(state))
    before = gguf.quants.dequantize(row, kind).reshape(-1)
    check(np.isfinite(before).all() and 0.002 < before.std() < 0.03, f"{name}: weights of the size {before.std()}")
    check(abs(before.mean()) < 0.2 * before.std(), f"{name}: weights have the mean {before.mean()}")
    library.pruned_set(number, address(row), length, ctypes.c_int64(zeros), ctypes.byref(state), address(scratch))
    after = gguf.quants.dequantize(row, kind).reshape(-1)
    marked = scratch.astype(bool)
    others = np.array_equal(before[~marked], after[~marked])
    check(marked.sum() == zeros and others, f"{name} {share}: other weights changed")
    # A code of zero may lie up to half a step beside it where the minimum is rounded.
    left = np.abs(after[marked]).mean()
    check(left < 0.35 * before.std(), f"{name} {share}: pruned weights are {left}")
    own, counted = count_background(library, name, row, k)
    check(own == counted, f"{name} {share}: {counted} at the background, not {own}")
    if name in BACKGROUND:
        check(counted == zeros, f"{name} {share}: {counted} weights at the background instead of {zeros}")
    else:
        check(zeros <= counted, f"{name} {share}: only {counted} weights at the background of {zeros}")


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    library = ctypes.CDLL(arguments[0])
    library.quant_find.restype = ctypes.POINTER(QuantType)
    rng = np.random.default_rng(3)
    for name in TYPES:
        check_layout(library, name, rng)
        for share in (0.3, 0.5, 0.9):
            check_pruning(library, name, share)
    for number in (0, 1, 9, 15, 16, 30, 40, 41, 2**32 - 1):
        check(not library.quant_find(ctypes.c_uint32(number)), f"type {number} is none of the quantized types here")
    for name in ("F16", "BF16"):  # the same way through plain_to_float, every code
        kind = gguf.GGMLQuantizationType[name]
        every = np.arange(1 << 16, dtype=np.uint16)
        raw = every.view(np.uint8).reshape(-1, 2) if name == "BF16" else every.view(np.float16)
        wanted = gguf.quants.dequantize(raw, kind).astype(np.float32).reshape(-1)
        check(same(decode(library, kind, every), wanted), f"{name}: other values than gguf's")
    return end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
