"""Blocks of a GGUF file, packed as they are: which of its rows a layer has is found by what they hold."""

import hashlib
import itertools
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

CHUNK = 1 << 22
"""Weights that are dequantized at a time."""


@dataclass(frozen=True)
class Blocks:
    """The rows of one layer as the file has them.

    Attributes:
        weight_type: number of the type in the GGUF format.
        data: uint8, N x bytes of a row.
        source: the names of the tensors that the rows are of.

    """

    weight_type: int
    data: torch.Tensor
    source: str


class GgufRows:
    """The rows of all matrices of a GGUF file.

    llama.cpp and PyTorch have other names for a matrix, order its rows differently in some models (attention with
    rotary positions) and cut matrices apart or join them. So a layer's rows are looked for by their numbers: those that
    the file's blocks stand for, in the layer's own type. What is found is right whatever the names are; a layer that
    was changed since it was loaded is not found.

    Args:
        path: of the file. Only what is needed of it is read.

    Raises:
        ImportError: the package gguf is missing.
        ValueError: this is no whole GGUF file.
        OSError: it cannot be read.

    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        gguf = package()
        with open(self.path, "rb") as file:
            magic = file.read(4)
        if magic != b"GGUF":
            raise ValueError(f"{self.path} is no GGUF file")
        try:
            self._tensors = [tensor for tensor in gguf.GGUFReader(self.path).tensors if len(tensor.shape) == 2]
        except (ValueError, KeyError, IndexError, TypeError, OverflowError, MemoryError, UnicodeDecodeError) as error:
            raise ValueError(f"{self.path} is damaged, cut off or of a newer kind than the package gguf knows: {error}"
                             ) from None
        self._rows: dict[tuple[int, torch.dtype], dict[bytes, list[tuple[int, int]]]] = {}

    def find(self, weight: torch.Tensor) -> Blocks | str:
        """The blocks that stand for a matrix, or the reason why there are none."""
        known = self._index(weight.shape[1], weight.dtype)
        places = [known.get(digest) for digest in _digests(weight)]
        if None in places:
            return "the GGUF file has no tensor with these weights"
        tensors = Counter(tensor for place in places for tensor in {t for t, _ in place or ()})
        whole = [tensor for tensor, count in tensors.items() if count == len(places)]
        chosen: list[tuple[int, int]] = []
        seen: Counter[int] = Counter()
        for place in places:
            within = [at for at in place or () if not whole or at[0] == whole[0]]
            # Rows that are equal take one place after the other.
            chosen.append(within[min(seen[id(place)], len(within) - 1)])
            seen[id(place)] += 1
        used = list(dict.fromkeys(tensor for tensor, _ in chosen))
        types = {int(self._tensors[tensor].tensor_type) for tensor in used}
        if len(types) > 1:
            return "the rows of this layer are of several types in the GGUF file"
        data = [_bytes(self._tensors[tensor].data) for tensor in used]
        begins = dict(zip(used, itertools.accumulate((len(rows) for rows in data), initial=0), strict=False))
        order = torch.tensor([begins[tensor] + row for tensor, row in chosen])
        return Blocks(types.pop(), torch.cat(data)[order], " + ".join(self._tensors[tensor].name for tensor in used))

    def has_one_of(self, model: nn.Module) -> bool:
        """Whether the weights of any linear layer of a model are found."""
        return any(isinstance(self.find(module.weight.detach()), Blocks) for module in model.modules()
                   if isinstance(module, nn.Linear) and module.weight.dim() == 2)

    def _index(self, k: int, dtype: torch.dtype) -> dict[bytes, list[tuple[int, int]]]:
        """Where the rows of k columns are, by a digest of their numbers in this type."""
        index = self._rows.get((k, dtype))
        if index is None:
            index = self._rows[k, dtype] = {}
            for number, tensor in enumerate(self._tensors):
                if tensor.shape[0] != k:
                    continue
                step = max(1, CHUNK // k)
                for begin in range(0, len(tensor.data), step):
                    numbers = dequantized(tensor.data[begin:begin + step], tensor.tensor_type)
                    if numbers is None:
                        break
                    for row, digest in enumerate(_digests(numbers.to(dtype)), begin):
                        index.setdefault(digest, []).append((number, row))
        return index


def package() -> Any:
    """The package gguf.

    Raises:
        ImportError: it is missing.

    """
    try:
        import gguf
    except ImportError as error:
        raise ImportError("GGUF files need the package gguf: pip install 'sparamx[gguf]'") from error
    return gguf


def dequantized(data: Any, weight_type: int) -> torch.Tensor | None:
    """The numbers that rows of blocks stand for, in float32; None if the package gguf does not know the type."""
    import numpy as np
    gguf = package()
    with np.errstate(all="ignore"):  # scales that are no numbers are weights, too
        try:
            numbers = gguf.dequantize(np.asarray(data), gguf.GGMLQuantizationType(int(weight_type)))
        except (NotImplementedError, ValueError):
            return None
    return torch.from_numpy(np.array(numbers, dtype=np.float32))


def _digests(weight: torch.Tensor) -> list[bytes]:
    """One for each row, of its numbers: both zeros are one number."""
    rows = (weight.detach() + 0.0).contiguous().view(torch.uint8).numpy()
    return [hashlib.blake2b(row.data, digest_size=16).digest() for row in rows]


def _bytes(data: Any) -> torch.Tensor:
    """Rows of the file as bytes: blocks are, 16-bit numbers are not."""
    import numpy as np
    return torch.from_numpy(np.array(data)).view(torch.uint8)
