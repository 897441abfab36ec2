"""Whole models: their linear layers replaced, and what became of them."""

import fnmatch
import os
import warnings
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from .blocks import GgufRows
from .library import SparamxError, capability
from .linear import SparamxLinear
from .packed import Form, PackedMatrix
from .report import Report, Row, left_row, taken_row
from .weights import NAMES, choose, prune_

ERR_TYPE, ERR_SHAPE = 15, 16
"""Statuses of sparamx.h: the library has no kernels for a type, or not for this shape."""

Skip = Sequence[str] | Callable[[str, nn.Module], bool]


def replace_linears(model: nn.Module, weights: str = "auto", *, skip: Skip = (), prune: float | None = None,
                    form: str = "auto", gguf: str | os.PathLike[str] | GgufRows | None = None,
                    reference: bool = False) -> Report:
    """Packs the weights of every linear layer of a model, in place.

    Args:
        model: any module on the CPU. ``nn.Linear`` and transformers' ``Conv1D`` are replaced by ``SparamxLinear``, one
            after the other, and each source weight is freed before the next. Left alone are subclasses of nn.Linear,
            whose owners may read the weight themselves; layers inside LoRA wrappers; float32 weights that "auto" cannot
            keep exactly; and whatever is not a linear layer. A head that shares its weights with an embedding is
            packed, and the embedding keeps them.
        weights: "auto" (lossless: bfloat16 and float16 as they are), "bf16", "f16", "q8_0" or "q4_0".
        skip: patterns such as ``"*.lm_head"`` (as of ``fnmatch``), or a function of name and module.
        prune: share of every row's weights of smallest magnitude that becomes zero before packing, 0 to 1. It costs
            accuracy; better methods need calibration data and are in the library's ``examples/prune``.
        form: "auto" (whichever takes fewer bytes), "dense" or "sparse".
        gguf: the GGUF file that the model was loaded from. Layers whose weights its blocks stand for are packed from
            these, in their own type; the others as ``weights`` says.
        reference: also where the CPU has no AVX-512; slow, for tests.

    Returns:
        A table of all matrices, what became of them and why: ``print`` it.

    Raises:
        ValueError: an argument is none of those above, or the GGUF file is none.
        OSError: the GGUF file cannot be read.
        SparamxError: packing failed, such as for want of memory; layers that were replaced stay replaced.

    """
    if weights != "auto" and weights not in NAMES:
        raise ValueError(f"weights='{weights}' is not known: use 'auto', " + ", ".join(repr(n) for n in NAMES))
    if prune is not None and not 0 <= prune <= 1:
        raise ValueError(f"prune={prune} is no share: use a number from 0 to 1")
    try:
        wanted = Form[form.upper()]
    except KeyError:
        raise ValueError(f"form='{form}' is not known: use 'auto', 'dense' or 'sparse'") from None
    if prune and gguf is not None:
        raise ValueError("prune= does not go with gguf=: blocks are packed as they are")
    rows = gguf if gguf is None or isinstance(gguf, GgufRows) else GgufRows(gguf)
    found = capability()
    if found.isa == 0 and not reference:
        reason = (found.avx512_reason or b"").decode()
        warnings.warn(f"sparamx leaves the model as it was: {reason}", stacklevel=2)
        return explain(model)
    reasons: dict[str, str] = {}
    for name, owner, module in list(_linears(model)):
        reason = _reason_to_leave(name, owner, module, skip)
        if not reason:
            weight = _matrix(module)
            layer, reason = _from_file(rows, weight, module, wanted) if rows is not None else (None, "")
            if layer is not None:
                assign(model, name, layer)
                continue
            if prune:
                weight = prune_(weight.clone(), prune)
            weight_type, why = choose(weight, weights)
            reason = f"{why}; {reason}" if why and reason else why or reason
            if weight_type is not None:
                layer = SparamxLinear(weight, module.bias, weight_type, wanted, transposed=_is_conv1d(module))
                layer.train(module.training)
                assign(model, name, layer)
        reasons[name] = reason
    return explain(model, reasons)


def explain(model: nn.Module, reasons: dict[str, str] | None = None) -> Report:
    """Which matrices of a model are packed, in which form, with how many zeros and bits, and why others are not.

    Args:
        model: any module.
        reasons: why modules of these names were left, where that is known, or what else there is to say of them.

    """
    rows: list[Row] = []
    seen: set[int] = set()
    for name, module in model.named_modules():
        if isinstance(module, SparamxLinear):
            rows.append(taken_row(name, module, (reasons or {}).get(name, "")))
            continue
        for parameter_name, parameter in module.named_parameters(recurse=False):
            if parameter.dim() < 2 or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            whole = name if parameter_name == "weight" else f"{name}.{parameter_name}".lstrip(".")
            rows.append(left_row(whole, parameter, (reasons or {}).get(name) or _kind(module, parameter)))
    return Report(rows)


def assign(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Puts a layer in the place of the module of this name, and wherever else that module is used."""
    old = model.get_submodule(name)
    for owner in list(model.modules()):
        for attribute, module in list(owner._modules.items()):
            if module is old:
                owner._modules[attribute] = layer


def _linears(model: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Module]]:
    """(name, owner, module) of everything that is a linear layer; one that is used in several places occurs once."""
    for name, module in model.named_modules():
        if name and (isinstance(module, nn.Linear) or _is_conv1d(module)):
            yield name, model.get_submodule(name.rpartition(".")[0]), module


def _from_file(rows: GgufRows, weight: torch.Tensor, module: nn.Module, form: Form) -> tuple[SparamxLinear | None, str]:
    """A layer with the blocks of a GGUF file, or the reason why it has none."""
    if weight.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return None, ""
    blocks = rows.find(weight)
    if isinstance(blocks, str):
        return None, blocks
    try:
        packed = PackedMatrix(blocks.weight_type, weight.shape[0], weight.shape[1], blocks.data, form)
    except SparamxError as error:
        if error.status not in (ERR_TYPE, ERR_SHAPE):
            raise
        return None, f"{blocks.source} of the GGUF file: {error}"
    layer = SparamxLinear.from_packed(packed, module.bias, weight.dtype, transposed=_is_conv1d(module))
    layer.source, layer.form = blocks.source, form
    return layer.train(module.training), ""


def _is_conv1d(module: nn.Module) -> bool:
    """Transformers' Conv1D, of GPT-2 and its kin: a linear layer with its matrix transposed."""
    return type(module).__name__ == "Conv1D" and type(module).__module__.startswith("transformers.") \
        and isinstance(getattr(module, "weight", None), torch.Tensor) and module.weight.dim() == 2


def _matrix(module: nn.Module) -> torch.Tensor:
    weight = module.weight.detach()
    return weight.t() if _is_conv1d(module) else weight


def _reason_to_leave(name: str, owner: nn.Module, module: nn.Module, skip: Skip) -> str:
    asked = skip(name, module) if callable(skip) else any(fnmatch.fnmatchcase(name, pattern) for pattern in skip)
    if asked:
        return "asked to be skipped"
    if hasattr(owner, "lora_A") or hasattr(owner, "base_layer"):
        return "inside a LoRA wrapper: merge it first"
    if isinstance(module, nn.Linear) and type(module) is not nn.Linear:
        return f"a {type(module).__name__}, whose owner may read the weight itself"
    if module.weight.device.type != "cpu":
        return f"on device {module.weight.device}"
    if 0 in module.weight.shape:
        return "empty"
    return ""


def _kind(module: nn.Module, parameter: nn.Parameter) -> str:
    if isinstance(module, nn.Linear) or _is_conv1d(module):
        return "a linear layer that was not replaced"
    if parameter.dim() == 3 and "xpert" in type(module).__name__:
        return "experts in one parameter of three dimensions are not taken"
    return f"a {type(module).__name__}, no linear layer"


__all__ = ["Report", "Row", "SparamxError", "explain", "replace_linears"]
