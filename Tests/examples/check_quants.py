#!/usr/bin/env python3
"""check_quants.py LIBRARY - checks examples/common/quants*.c and pruned.c, compiled into a shared library, against the
PyPI package gguf: what random blocks decode to, that codes can be written back, and that pruning gives the share asked
for.
"""
import ctypes
import pathlib
import sys

import gguf
import numpy as np

from checks import check, end

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "cmake"))
import definitions  # noqa: E402

BLOCKS = 400
NO_ZERO = -2  # QUANT_NO_ZERO of quants.h
FIRST_UNKNOWN = 43  # the numbers that the format has given away so far are below
# Types that examples/common does not take apart, and some that there never were.
OTHERS = (0, 1, 4, 5, 9, 15, *range(16, 20), 21, 22, *range(24, 39), FIRST_UNKNOWN, 2**32 - 1)


def of_bits(blocks, bits, values):
    """Types that are a float16 scale and codes of a few bits, lowest first."""
    fields = np.unpackbits(blocks[:, 2:], axis=1, bitorder="little").reshape(len(blocks), -1, bits)
    codes = fields @ (1 << np.arange(bits))
    with np.errstate(all="ignore"):
        return np.array(values, dtype=np.float32)[codes] * blocks[:, :2].copy().view(np.float16).astype(np.float32)


# What the package does not know: number, block, bytes of a block, values.
MORE = {"Q1_0": (41, 128, 18, lambda blocks: of_bits(blocks, 1, [-1, 1])),
        "Q2_0": (42, 64, 18, lambda blocks: of_bits(blocks, 2, [-1, 0, 1, 2]))}


def type_of(name):
    """(number, block, bytes of a block)"""
    if name in MORE:
        return MORE[name][:3]
    kind = gguf.GGMLQuantizationType[name]
    return (int(kind), *gguf.GGML_QUANT_SIZES[kind])


def values_of(name, blocks):
    if name in MORE:
        return MORE[name][3](blocks).reshape(-1)
    with np.errstate(all="ignore"):
        return gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[name]).astype(np.float32).reshape(-1)


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


def decode(library, kind, block, blocks):
    k = blocks.shape[0] * block
    out = np.full(k, np.nan, dtype=np.float32)
    library.plain_to_float(ctypes.c_uint32(kind), address(blocks), ctypes.c_int64(k), address(out))
    return out


def each_block(q, blocks, codes, function):
    for i in range(len(blocks)):
        function(blocks.ctypes.data + i * q.bytes, codes.ctypes.data + i * q.block)


def check_layout(library, name, rng):
    """Random blocks, random scale bytes included: the values, and the codes there and back."""
    kind, block, size = type_of(name)
    q = library.quant_find(ctypes.c_uint32(kind)).contents
    check((q.type, q.block, q.bytes) == (kind, block, size), f"{name}: block of {q.block} weights and {q.bytes} bytes")
    blocks = rng.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
    wanted = values_of(name, blocks)
    check(same(decode(library, kind, block, blocks), wanted), f"{name}: other values than gguf's")

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
    q = library.quant_find(ctypes.c_uint32(type_of(name)[0])).contents
    codes = np.zeros((len(row), q.block), dtype=np.uint8)
    each_block(q, row, codes, q.get_codes)
    if q.background >= 0:
        own = int((codes == q.background).sum())
    else:
        own = sum(int(np.bincount(group).max()) for group in codes.reshape(-1, q.group))
    library.quant_count_background.restype = ctypes.c_int64
    return own, library.quant_count_background(ctypes.byref(q), address(row), ctypes.c_int64(k))


def check_pruning(library, name, share):
    """As many weights as asked for are (about) zero and count as background; the rest are of the size of real ones."""
    kind, block, size = type_of(name)
    k, zeros = BLOCKS * block, round(BLOCKS * block * share)
    row, scratch, state = np.zeros((BLOCKS, size), dtype=np.uint8), np.zeros(k, dtype=np.uint8), ctypes.c_uint64(5)
    number, length = ctypes.c_uint32(kind), ctypes.c_int64(k)
    library.pruned_random(number, address(row), length, ctypes.byref(state))
    before = values_of(name, row)
    check(np.isfinite(before).all() and 0.002 < before.std() < 0.03, f"{name}: weights of the size {before.std()}")
    check(abs(before.mean()) < 0.2 * before.std(), f"{name}: weights have the mean {before.mean()}")
    library.pruned_set(number, address(row), length, ctypes.c_int64(zeros), ctypes.byref(state), address(scratch))
    after = values_of(name, row)
    marked = scratch.astype(bool)
    others = np.array_equal(before[~marked], after[~marked])
    check(marked.sum() == zeros and others, f"{name} {share}: other weights changed")
    # A code of zero may lie up to half a step beside it where the minimum is rounded.
    left = np.abs(after[marked]).mean()
    check(left < 0.35 * before.std(), f"{name} {share}: pruned weights are {left}")
    own, counted = count_background(library, name, row, k)
    check(own == counted, f"{name} {share}: {counted} at the background, not {own}")
    if library.quant_find(number).contents.background >= 0:
        check(counted == zeros, f"{name} {share}: {counted} weights at the background instead of {zeros}")
    else:
        check(zeros <= counted, f"{name} {share}: only {counted} weights at the background of {zeros}")


def check_no_pruning(library, name, share):
    """None of its codes is zero: weights stay as they are, and none counts."""
    kind, block, size = type_of(name)
    k = BLOCKS * block
    row, scratch, state = np.zeros((BLOCKS, size), dtype=np.uint8), np.zeros(k, dtype=np.uint8), ctypes.c_uint64(5)
    number, length = ctypes.c_uint32(kind), ctypes.c_int64(k)
    library.pruned_random(number, address(row), length, ctypes.byref(state))
    before = values_of(name, row)
    check(0.002 < before.std() < 0.03 and (before != 0).all(), f"{name}: weights of the size {before.std()}")
    library.pruned_set(number, address(row), length, ctypes.c_int64(round(k * share)), ctypes.byref(state),
                       address(scratch))
    check(np.array_equal(before, values_of(name, row)), f"{name}: weights changed, and there is no code of zero")
    library.quant_count_background.restype = ctypes.c_int64
    counted = library.quant_count_background(library.quant_find(number), address(row), length)
    check(counted == 0, f"{name}: {counted} weights count as zero")


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    library = ctypes.CDLL(arguments[0])
    library.quant_find.restype = ctypes.POINTER(QuantType)
    rng = np.random.default_rng(3)
    names = {*MORE, *(kind.name for kind in gguf.GGMLQuantizationType)}
    names = sorted(name for name in names if library.quant_find(ctypes.c_uint32(type_of(name)[0])))
    missing = {kind.name for kind in definitions.types() if kind.quantized} - set(names)
    check(not missing, f"the library has types that examples/common does not know: {missing}")
    for name in names:
        check_layout(library, name, rng)
        for share in (0.3, 0.5, 0.9):
            if library.quant_find(ctypes.c_uint32(type_of(name)[0])).contents.background == NO_ZERO:
                check_no_pruning(library, name, share)
            else:
                check_pruning(library, name, share)
    for number in OTHERS:
        check(not library.quant_find(ctypes.c_uint32(number)), f"type {number} is none of the quantized types here")
    for name in ("F16", "BF16"):  # the same way through plain_to_float, every code
        kind = gguf.GGMLQuantizationType[name]
        every = np.arange(1 << 16, dtype=np.uint16)
        raw = every.view(np.uint8).reshape(-1, 2) if name == "BF16" else every.view(np.float16)
        wanted = gguf.quants.dequantize(raw, kind).astype(np.float32).reshape(-1)
        check(same(decode(library, kind, 1, every), wanted), f"{name}: other values than gguf's")
    return end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
