"""What a pruned weight is in each type: the code that means zero, written into the block. Everything else in the block
stays as it is, except in the types with a minimum (Q4_1, Q5_1): there zero has no code, so the block is encoded again
with a scale and a minimum that give it one."""

import gguf
import numpy as np

Type = gguf.GGMLQuantizationType


def prune(raw, mask, zero, kind):
    """Sets the weights where mask (rows, columns) is true to zero, in raw (rows, bytes of a row), in place; and those
    that are zero (the second mask) to the one code for it, except in types with a minimum, which have no other."""
    if kind not in (Type.Q4_1, Type.Q5_1):
        mask = mask | zero
    if kind in WORDS:
        raw.view(WORDS[kind])[mask] = 0
        return
    block, n_bytes = gguf.GGML_QUANT_SIZES[kind]
    blocks, flags = raw.reshape(-1, n_bytes), mask.reshape(-1, block)
    assert np.shares_memory(blocks, raw)
    touched = flags.any(axis=1)
    changed = blocks[touched]
    BLOCKS[kind](changed, flags[touched], kind)
    blocks[touched] = changed


def zero_bytes(blocks, flags, _):
    blocks[:, 2:][flags] = 0


def set_nibbles(nibbles, flags, code):
    """16 bytes: the low halves are weights 0 to 15, the high halves 16 to 31."""
    low, high = flags[:, :16], flags[:, 16:]
    nibbles[low] = nibbles[low] & 0xF0 | code
    nibbles[high] = nibbles[high] & 0x0F | code << 4


def zero_q4_0(blocks, flags, _):
    set_nibbles(blocks[:, 2:], flags, 8)


def zero_q5_0(blocks, flags, _):
    blocks[:, 2:6] |= np.packbits(flags, axis=1, bitorder="little")  # code 16 is the fifth bit alone
    set_nibbles(blocks[:, 6:], flags, 0)


def zero_mxfp4(blocks, flags, _):
    set_nibbles(blocks[:, 1:], flags, 0)


def zero_ternary(blocks, flags, kind):
    """-1, 0 and 1 times a scale: the package's own encoding of what it decoded is the same bytes again."""
    weights = gguf.dequantize(blocks, kind)
    weights[flags] = 0
    blocks[:] = gguf.quantize(weights, kind)


def zero_with_minimum(blocks, flags, kind):
    """A weight is scale * code + minimum, both float16. With a scale of few enough bits, scale * code is exact in
    float16 for the code that lies where zero is; its negative is the minimum, and that code decodes to 0 and nothing
    else."""
    levels, bits = (15, 7) if kind == Type.Q4_1 else (31, 6)  # float16 has 11 bits; a code takes 4 or 5 of them
    weights = gguf.dequantize(blocks, kind).astype(np.float64)
    weights[flags] = 0
    low, high = np.minimum(weights.min(axis=1), 0), np.maximum(weights.max(axis=1), 0)
    step = (high - low) / levels
    code = np.rint(np.divide(-low, step, out=np.zeros_like(low), where=step > 0))
    # Wide enough for both ends, then up to the next scale of that many bits.
    step = np.maximum(np.divide(-low, code, out=np.zeros_like(low), where=code > 0),
                      np.divide(high, levels - code, out=np.zeros_like(low), where=code < levels))
    quantum = np.maximum(np.ldexp(1.0, np.frexp(step)[1] - bits), 2.0**-24)  # float16 has no smaller steps than that
    scale = (np.ceil(step / quantum) * quantum).astype(np.float16)
    minimum = (-scale.astype(np.float64) * code).astype(np.float16)
    wide = np.where(scale == 0, 1, scale).astype(np.float64)
    codes = np.clip(np.rint(weights / wide[:, None] + code[:, None]), 0, levels).astype(np.uint8)
    blocks[:, 0:2] = scale.view(np.uint8).reshape(-1, 2)
    blocks[:, 2:4] = minimum.view(np.uint8).reshape(-1, 2)
    if kind == Type.Q5_1:
        blocks[:, 4:8] = np.packbits(codes >> 4, axis=1, bitorder="little")
    blocks[:, -16:] = (codes[:, :16] & 15) | (codes[:, 16:] & 15) << 4


WORDS = {Type.F32: np.uint32, Type.F16: np.uint16, Type.BF16: np.uint16}
BLOCKS = {
    Type.Q8_0: zero_bytes, Type.Q4_0: zero_q4_0, Type.Q5_0: zero_q5_0, Type.MXFP4: zero_mxfp4,
    Type.Q4_1: zero_with_minimum, Type.Q5_1: zero_with_minimum, Type.TQ1_0: zero_ternary, Type.TQ2_0: zero_ternary,
}
PRUNABLE = frozenset(WORDS) | frozenset(BLOCKS)
ADJUSTABLE = frozenset(WORDS) | {Type.Q8_0}  # weights that stay can take other values without a large rounding error
# The words that are -0, and the bits that NaN and infinity have all of.
SIGNS = {Type.F32: 1 << 31, Type.F16: 1 << 15, Type.BF16: 1 << 15}
EXPONENTS = {Type.F32: 0x7F800000, Type.F16: 0x7C00, Type.BF16: 0x7F80}
LARGEST_F16 = np.float32(65504)


def decode(raw, kind):
    """The weights as float32, one row per row."""
    return np.asarray(gguf.dequantize(raw, kind), dtype=np.float32)


def encode(raw, weights, kind):
    """Rounds the weights, float32, into raw (rows, bytes of a row). Zeros become the type's zero."""
    weights = np.where(weights == 0, np.float32(0), weights)
    if kind == Type.F16:
        weights = np.clip(weights, -LARGEST_F16, LARGEST_F16)
    raw[:] = np.ascontiguousarray(gguf.quantize(weights, kind)).view(np.uint8).reshape(raw.shape)


def negative_zeros(raw, kind):
    """How many weights are -0: zero as a number, but a code of its own, which is packed as a value."""
    if kind in WORDS:
        return int((raw.view(WORDS[kind]) == SIGNS[kind]).sum())
    if kind != Type.MXFP4:
        return 0
    nibbles = raw.reshape(-1, gguf.GGML_QUANT_SIZES[kind][1])[:, 1:]
    return int((nibbles & 15 == 8).sum() + (nibbles >> 4 == 8).sum())


def broken(raw, kind):
    """How many weights are NaN or infinite."""
    if kind in WORDS:
        words, ones = raw.view(WORDS[kind]), EXPONENTS[kind]
        return int((words & ones == ones).sum())
    with np.errstate(invalid="ignore", over="ignore"):
        return int((~np.isfinite(decode(raw, kind))).sum())
