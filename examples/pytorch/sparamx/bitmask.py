"""Checkpoints that compressed-tensors wrote with a bitmap of their zeros, a format it no longer reads.

Of a matrix `x.weight` such a checkpoint has `x.compressed` (the weights that are kept, row after row), `x.bitmask` (a
bit for each weight, lowest bit first), `x.shape` and, in the format "sparse-bitmask", `x.row_offsets`.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch

FORMATS = ("sparse-bitmask", "sparse-24-bitmask", "dense")
PARTS = ("compressed", "bitmask", "shape", "row_offsets")
ONLY = "only bitmaps of 16-bit and 32-bit weights are"
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def read_checkpoint(folder: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint as ordinary tensors, zeros included.

    Args:
        folder: with ``config.json`` and one or more files of safetensors.

    Raises:
        ValueError: the format is another one, or a file is damaged.
        OSError: a file is missing or cannot be read.

    """
    folder = Path(folder)
    require_format(json_object(folder / "config.json"), folder)
    tensors = _read_tensors(folder)
    packed: dict[str, dict[str, torch.Tensor]] = {}
    state: dict[str, torch.Tensor] = {}
    for name, value in tensors.items():
        prefix, _, last = name.rpartition(".")
        if last in PARTS and f"{prefix}.bitmask" in tensors:
            packed.setdefault(prefix.removesuffix(".weight"), {})[last] = value
        elif last in ("weight_scale", "weight_packed", "weight_zero_point"):
            raise ValueError(f"{folder} is quantized ({name}), which is not read here: {ONLY}")
        else:
            state[name] = value
    for prefix, parts in packed.items():
        if f"{prefix}.weight" in state:
            raise ValueError(f"{folder} is damaged: {prefix}.weight is there twice")
        state[f"{prefix}.weight"] = expand(parts, f"{folder}: {prefix}")
    return state


def require_format(config: dict[str, Any], folder: Path) -> None:
    """Raises ValueError unless a configuration says that the checkpoint is one of those read here."""
    about = config.get("quantization_config") or config.get("compression_config") or {}
    if not isinstance(about, dict):
        raise ValueError(f"{folder / 'config.json'} does not say how its weights are kept")
    sparsity = about.get("sparsity_config") or config.get("sparsity_config") or {}
    if not isinstance(sparsity, dict):
        raise ValueError(f"{folder / 'config.json'} does not say how its weights are kept")
    method = about.get("quant_method", "compressed-tensors")
    if method != "compressed-tensors":
        raise ValueError(f"{folder} was written with {method}: load it with transformers, which asks for its package")
    if about.get("config_groups"):
        raise ValueError(f"{folder} is quantized ({about.get('format', 'unknown')}), which is not read here: {ONLY}")
    form = sparsity.get("format", "dense")
    if form not in FORMATS:
        raise ValueError(f"{folder} has the format {form}, which is not read here: {', '.join(FORMATS)} are")


def expand(parts: dict[str, torch.Tensor], where: str) -> torch.Tensor:
    """The matrix of one set of parts.

    Raises:
        ValueError: they do not fit each other. where: begins the message.

    """
    missing = {"compressed", "bitmask", "shape"} - parts.keys()
    if missing:
        raise ValueError(f"{where} is damaged: {missing.pop()} is missing")
    values, bitmask, shape = parts["compressed"].flatten(), parts["bitmask"], parts["shape"].flatten().tolist()
    if values.dtype not in DTYPES:
        raise ValueError(f"{where} has weights of {values.dtype}, which are not served")
    if len(shape) != 2 or min(shape) < 1 or bitmask.dtype != torch.uint8 \
            or tuple(bitmask.shape) != (shape[0], (shape[1] + 7) // 8):
        raise ValueError(f"{where} is damaged: a bitmap of {tuple(bitmask.shape)} is none of {shape}")
    kept = (bitmask.unsqueeze(-1) >> torch.arange(8, dtype=torch.uint8) & 1).bool().flatten(1)[:, :shape[1]]
    counts = kept.sum(dim=1)
    if counts.sum().item() != values.numel():
        raise ValueError(f"{where} is damaged: its bitmap has {counts.sum().item()} bits for {values.numel()} weights")
    offsets = parts.get("row_offsets")
    if offsets is not None and not torch.equal(offsets.flatten().long(), counts.cumsum(0) - counts):
        raise ValueError(f"{where} is damaged: its row offsets are not those of its bitmap")
    return torch.zeros(shape, dtype=values.dtype).masked_scatter_(kept, values)


def json_object(path: Path) -> dict[str, Any]:
    """What a JSON file has.

    Raises:
        ValueError: it is no JSON object.
        OSError: it cannot be read.

    """
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is no JSON object")
    return found


def _read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    index = folder / "model.safetensors.index.json"
    if index.exists():
        named = json_object(index).get("weight_map")
        if not isinstance(named, dict) or not all(isinstance(file, str) for file in named.values()):
            raise ValueError(f"{index} has no weight_map")
        files = sorted({folder / Path(file).name for file in named.values()})
    else:
        files = [folder / "model.safetensors"]
    tensors: dict[str, torch.Tensor] = {}
    for path in files:
        try:
            tensors |= load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged: {error}") from None
    return tensors
