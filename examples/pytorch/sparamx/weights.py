"""Weights of PyTorch to the bytes of GGUF types, and back."""

import torch

from .blocks import dequantized
from .packed import WeightType

BLOCK = 32
"""Columns that share a scale in Q8_0 and Q4_0."""

NAMES = {"bf16": WeightType.BF16, "f16": WeightType.F16, "q8_0": WeightType.Q8_0, "q4_0": WeightType.Q4_0}
"""What a caller may ask for, beside "auto": the types that this package makes. Others come from GGUF files."""


def choose(weight: torch.Tensor, asked: str) -> tuple[WeightType | None, str]:
    """The type that a matrix is packed in, or None and the reason why not.

    "auto" is lossless: the matrix's own 16-bit type, and of float32 that of the two types which holds every weight.
    """
    if weight.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return None, f"weights of {weight.dtype} are not served"
    if asked != "auto":
        wanted = NAMES[asked]
        if wanted in (WeightType.Q8_0, WeightType.Q4_0) and weight.shape[1] % BLOCK != 0:
            return None, f"{asked} needs a multiple of {BLOCK} inputs, and this has {weight.shape[1]}"
        return wanted, ""
    if weight.dtype == torch.bfloat16:
        return WeightType.BF16, ""
    if weight.dtype == torch.float16:
        return WeightType.F16, ""
    for dtype, found in ((torch.bfloat16, WeightType.BF16), (torch.float16, WeightType.F16)):
        if torch.equal(weight.to(dtype).float(), weight):
            return found, ""
    return None, "float32 weights that no 16-bit type holds exactly: weights='bf16' or 'q8_0' would round them"


def to_bytes(weight: torch.Tensor, weight_type: WeightType) -> torch.Tensor:
    """The rows of a matrix in the type's GGUF layout: uint8, N x bytes of a row."""
    weight = weight.detach()
    match weight_type:
        case WeightType.BF16:
            return weight.to(torch.bfloat16).contiguous().view(torch.uint8)
        case WeightType.F16:
            return weight.to(torch.float16).contiguous().view(torch.uint8)
        case WeightType.Q8_0:
            return _to_q8_0(weight.float())
        case WeightType.Q4_0:
            return _to_q4_0(weight.float())
    raise ValueError(f"weights of {weight_type.name} are not made here: they come from GGUF files")


def without_negative_zeros(weight: torch.Tensor) -> torch.Tensor:
    """The same numbers.

    Who prunes by multiplying with a mask, as ``torch.nn.utils.prune`` does, leaves -0.0 for every other weight. It has
    bits of its own and would be kept.
    """
    negative = (weight == 0) & torch.signbit(weight)
    return weight.masked_fill(negative, 0.0) if negative.any() else weight


def from_bytes(data: torch.Tensor, weight_type: int) -> torch.Tensor:
    """The matrix of such rows: bfloat16 and float16 as they are, the others in float32."""
    match WeightType(weight_type):
        case WeightType.BF16:
            return data.view(torch.bfloat16)
        case WeightType.F16:
            return data.view(torch.float16)
        case WeightType.Q8_0:
            blocks = data.view(data.shape[0], -1, 34)
            return (_scales(blocks) * blocks[..., 2:].view(torch.int8).float()).flatten(1)
        case WeightType.Q4_0:
            blocks = data.view(data.shape[0], -1, 18)
            codes = torch.cat((blocks[..., 2:] & 15, blocks[..., 2:] >> 4), dim=-1)
            return (_scales(blocks) * (codes.float() - 8)).flatten(1)
        case other:
            numbers = dequantized(data.numpy(), other)
            if numbers is None:
                raise ValueError(f"the package gguf does not know {other.name}: install a newer one")
            return numbers


def _scales(blocks: torch.Tensor) -> torch.Tensor:
    return blocks[..., :2].contiguous().view(torch.float16).float()


def _with_scales(scale: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Rows of blocks, each a float16 scale and then its codes."""
    return torch.cat((scale.to(torch.float16).view(torch.uint8), codes), dim=-1).flatten(1).contiguous()


def _to_q8_0(weight: torch.Tensor) -> torch.Tensor:
    """As ggml quantizes: the largest magnitude of 32 is 127, codes to nearest, halves away from zero."""
    blocks = weight.view(weight.shape[0], -1, BLOCK)
    scale = blocks.abs().amax(dim=-1, keepdim=True) / 127
    inverse = torch.where(scale != 0, 1 / scale, 0)
    exact = blocks * inverse
    whole = exact.trunc()
    codes = whole + torch.where((exact - whole).abs() >= 0.5, exact.sign(), 0)
    return _with_scales(scale, codes.to(torch.int8).view(torch.uint8))


def _to_q4_0(weight: torch.Tensor) -> torch.Tensor:
    """As ggml quantizes: the number of largest magnitude of 32 is -8, whatever its sign."""
    blocks = weight.view(weight.shape[0], -1, BLOCK)
    largest = blocks.gather(-1, blocks.abs().argmax(dim=-1, keepdim=True))
    scale = largest / -8
    inverse = torch.where(scale != 0, 1 / scale, 0)
    codes = (blocks * inverse + 8.5).to(torch.int8).clamp(max=15).view(torch.uint8)
    return _with_scales(scale, codes[..., :BLOCK // 2] | codes[..., BLOCK // 2:] << 4)


def prune_(weight: torch.Tensor, share: float) -> torch.Tensor:
    """Sets the share of smallest magnitude of every row to zero, in place. What is zero already counts."""
    count = round(share * weight.shape[1])
    if count > 0:
        smallest = weight.abs().topk(count, dim=1, largest=False).indices
        weight.scatter_(1, smallest, 0.0)
    return weight
