"""Packed models on disk: packed once, mapped as often as wanted, by any number of processes at once."""

import ctypes
import json
import os
import pickle
import tempfile
from ctypes import c_void_p
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .library import check, library
from .linear import SparamxLinear
from .model import assign
from .packed import PackedMatrix, WeightType

PACKED, REST, LAYERS = "weights.sparamx", "rest.pt", "layers.json"
FORMAT = 1
DTYPES = ("float32", "bfloat16", "float16")


def save_packed(model: nn.Module, folder: str | os.PathLike[str]) -> None:
    """Writes a model whose linear layers are packed: their weights as they are in memory, and the rest of its state.

    Args:
        model: what ``replace_linears`` has worked on.
        folder: is made if it is not there. ``weights.sparamx`` has the packed weights, ``rest.pt`` all other parameters
            and buffers, ``layers.json`` what layers there are. The three are replaced one by one: write to a new folder
            if somebody may load meanwhile.

    Raises:
        ValueError: the model has no packed layer.
        SparamxError: the file cannot be written (a full disk, ...). What was there before stays.

    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, SparamxLinear)}
    if not layers:
        raise ValueError("this model has no packed layer: call sparamx.replace_linears first")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    writer = c_void_p()
    path = folder / PACKED
    check(library().sparamx_file_writer_create(os.fsencode(path), None, 0, ctypes.byref(writer)), str(path))
    try:
        for name, layer in layers.items():
            layer.packed.save(writer, name)
        check(library().sparamx_file_writer_finish(writer), str(path))
    finally:
        library().sparamx_file_writer_destroy(writer)
    kept = {name + ".weight" for name in layers}
    rest = {name: value.detach() for name, value in _state(model) if name not in kept}
    _write(folder / REST, lambda file: torch.save(rest, file))
    description = {"format": FORMAT, "layers": {
        name: {"dtype": str(layer.dtype).removeprefix("torch."), "transposed": layer.transposed,
               "bias": layer.bias is not None} for name, layer in layers.items()}}
    _write(folder / LAYERS, lambda file: file.write(json.dumps(description, indent=1).encode()))


def load_packed(model: nn.Module, folder: str | os.PathLike[str], *, verify: bool = False) -> nn.Module:
    """Gives a model the weights that ``save_packed`` wrote: packed ones are mapped, not read.

    Args:
        model: of the same architecture. Its own weights are thrown away, so it may be on the meta device
            (``with torch.device("meta")``); buffers that no ``state_dict`` has, such as the frequencies of rotary
            embeddings, must be real.
        folder: what ``save_packed`` wrote.
        verify: read all weights and compare their checksums.

    Returns:
        The model, changed in place.

    Raises:
        ValueError: the folder is of another model, or of another version of this package, or damaged.
        SparamxError: the packed file is missing, damaged or none.
        OSError: another file is missing or cannot be read.
        In each case the model is as it was.

    """
    folder = Path(folder)
    layers = _read_layers(folder / LAYERS)
    modules = dict(model.named_modules())
    missing = [name for name in layers if name not in modules]
    if missing:
        raise ValueError(f"{folder} is of another model: this one has no layer {missing[0]}")
    try:
        rest: dict[str, torch.Tensor] = torch.load(folder / REST, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{folder / REST} is not what save_packed writes: {error}") from None
    _require_fitting(model, layers, rest, folder)
    file, path = c_void_p(), folder / PACKED
    check(library().sparamx_file_open(os.fsencode(path), ctypes.byref(file)), str(path))
    try:
        made = {name: _load_layer(file, name, modules[name], about, verify) for name, about in layers.items()}
    finally:
        library().sparamx_file_close(file)
    # Nothing has been changed so far, and nothing fails from here on.
    for name, layer in made.items():
        assign(model, name, layer.train(modules[name].training))
    model.load_state_dict(rest, strict=False, assign=True)
    return model


def _read_layers(path: Path) -> dict[str, dict[str, Any]]:
    """What save_packed wrote of the layers."""
    try:
        description = json.loads(path.read_text())
        layers: dict[str, dict[str, Any]] = description["layers"]
        whole = all(about["dtype"] in DTYPES and {"transposed", "bias"} <= about.keys() for about in layers.values())
        known = description["format"] == FORMAT
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not what save_packed writes: {error}") from None
    if not known:
        raise ValueError(f"{path} was written by another version of this package: pack the model anew")
    if not whole:
        raise ValueError(f"{path} is not what save_packed writes: a layer without its type")
    return layers


def _require_fitting(model: nn.Module, layers: dict[str, dict[str, Any]], rest: dict[str, torch.Tensor],
                     folder: Path) -> None:
    """That what is not packed has the names and shapes of the model's own."""
    packed = {f"{name}.weight" for name in layers}
    wanted = {name: value.shape for name, value in _state(model) if name not in packed}
    for name in wanted.keys() ^ rest.keys():
        raise ValueError(f"{folder} is of another model: {name} does not fit")
    for name, about in layers.items():
        if bool(about["bias"]) != (f"{name}.bias" in rest):
            raise ValueError(f"{folder} is damaged: {LAYERS} and {REST} do not agree on the bias of {name}")
    for name, shape in wanted.items():
        if rest[name].shape != shape:
            raise ValueError(f"{folder} is of another model: {name} has the shape {tuple(rest[name].shape)} there")


def _load_layer(file: c_void_p, name: str, old: nn.Module, about: dict[str, Any], verify: bool) -> SparamxLinear:
    packed = PackedMatrix.load(file, name, verify)
    if packed.weight_type not in tuple(WeightType):
        raise ValueError(f"{name} is packed in type {packed.weight_type}, which this package does not make")
    transposed = bool(about["transposed"])
    shape = (packed.k, packed.n) if transposed else (packed.n, packed.k)
    if not isinstance(getattr(old, "weight", None), torch.Tensor) or tuple(old.weight.shape) != shape:
        raise ValueError(f"the packed weights are of another model: {name} is {shape[0]} x {shape[1]} there")
    bias = torch.zeros(packed.n) if about["bias"] else None
    return SparamxLinear.from_packed(packed, bias, getattr(torch, about["dtype"]), transposed)


def _state(model: nn.Module) -> Any:
    """Names and values of what state_dict has, without unpacking anything."""
    packed = {id(module) for module in model.modules() if isinstance(module, SparamxLinear)}
    for name, module in model.named_modules(remove_duplicate=False):
        prefix = name + "." if name else ""
        if id(module) in packed:
            if module.bias is not None:
                yield prefix + "bias", module.bias
            continue
        for key, value in module.named_parameters(recurse=False):
            yield prefix + key, value
        for key, value in module.named_buffers(recurse=False):
            if key not in module._non_persistent_buffers_set:
                yield prefix + key, value


def _write(path: Path, write: Any) -> None:
    """A whole file or none."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".sparamx-", delete=False) as file:
        try:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, path)
