"""Transformers' way in: ``from_pretrained(..., quantization_config=SparamxConfig())``, and files that it cannot keep.

Importing this module registers "sparamx" as a quantization method.
"""

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .bitmask import json_object, read_checkpoint
from .blocks import GgufRows
from .library import SparamxError
from .linear import SparamxLinear
from .model import replace_linears
from .weights import NAMES

try:
    import transformers
    from transformers.quantizers import HfQuantizer, register_quantization_config, register_quantizer
    from transformers.utils.quantization_config import QuantizationConfigMixin
except ImportError as error:
    raise ImportError("sparamx.transformers needs the package transformers: pip install 'sparamx[transformers]'"
                      ) from error


@register_quantization_config("sparamx")
class SparamxConfig(QuantizationConfigMixin):  # type: ignore[misc]
    """What becomes of a model's linear layers while it is loaded.

    Args:
        weights: as in ``replace_linears``.
        skip: patterns of names, as there.
        prune: as there.
        form: as there.
        reference: as there.

    """

    def __init__(self, weights: str = "auto", skip: list[str] | None = None, prune: float | None = None,
                 form: str = "auto", reference: bool = False, **_: Any) -> None:
        self.quant_method = "sparamx"
        self.weights, self.skip, self.prune, self.form, self.reference = weights, skip or [], prune, form, reference
        self.post_init()

    def post_init(self) -> None:
        """Raises ValueError for what replace_linears would refuse, before anything is loaded."""
        if self.weights != "auto" and self.weights not in NAMES:
            raise ValueError(f"weights='{self.weights}' is not known: use 'auto', " + ", ".join(map(repr, NAMES)))


@register_quantizer("sparamx")
class SparamxQuantizer(HfQuantizer):  # type: ignore[misc]
    """Packs the layers when all weights have arrived."""

    requires_calibration = False

    def _process_model_before_weight_loading(self, model: nn.Module, **_: Any) -> nn.Module:
        return model

    def _process_model_after_weight_loading(self, model: nn.Module, **_: Any) -> nn.Module:
        config = self.quantization_config
        model.sparamx_report = replace_linears(model, config.weights, skip=config.skip, prune=config.prune,
                                               form=config.form, reference=config.reference)
        return model

    def is_serializable(self, *_: Any, **__: Any) -> bool:
        """Its state_dict is that of the dense model."""
        return True

    @property
    def is_trainable(self) -> bool:
        """Packed weights have no gradient."""
        return False


def load_gguf(path: str | os.PathLike[str], *, dtype: torch.dtype = torch.bfloat16, auto_class: Any = None,
              **options: Any) -> nn.Module:
    """A model whose linear layers are packed from the blocks of a GGUF file, in their own types.

    Transformers makes the model, so it has to know the architecture; it dequantizes everything for a while, which takes
    2 or 4 bytes of memory for each weight. Embeddings and norms stay dequantized.

    Args:
        path: of the file.
        dtype: that activations, embeddings and norms are to have.
        auto_class: of transformers, or a class of models; ``AutoModelForCausalLM`` if not given.
        options: as in ``replace_linears``.

    Returns:
        The model; ``sparamx_report`` has the table.

    Raises:
        ValueError: this is no GGUF file, or transformers does not know its architecture.
        OSError: it cannot be read.

    """
    path, rows = Path(path), GgufRows(path)
    loader = auto_class or transformers.AutoModelForCausalLM

    # Where transformers could keep blocks, too, it is to leave them to this package.
    more = {"quantization_config": transformers.GgufConfig(dequantize=True)} if hasattr(transformers, "GgufConfig") \
        else {}

    def load(wanted: torch.dtype) -> Any:
        try:
            return loader.from_pretrained(path.parent, gguf_file=path.name, dtype=wanted, **more)
        except (KeyError, IndexError, TypeError, AttributeError, NotImplementedError, ValueError) as error:
            raise ValueError(f"transformers cannot make a model of {path}: {error}") from error

    model = load(dtype)
    if dtype != torch.float32 and not rows.has_one_of(model):
        # Some architectures are dequantized with the arithmetic of dtype, which gives other numbers.
        model = load(torch.float32)
    model.sparamx_report = replace_linears(model, gguf=rows, **options)
    for module in model.modules():
        if isinstance(module, SparamxLinear):
            module.dtype = dtype
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    model.config.dtype = dtype
    return model.eval()


def load_compressed(folder: str | os.PathLike[str], *, dtype: torch.dtype | None = None, **options: Any) -> nn.Module:
    """A model of a checkpoint that compressed-tensors wrote with a bitmap of its zeros ("sparse-bitmask"), packed.

    Args:
        folder: with ``config.json`` and files of safetensors.
        dtype: of the model; that of the checkpoint if not given.
        options: as in ``replace_linears``.

    Returns:
        The model, of the class that ``config.json`` names; ``sparamx_report`` has the table.

    Raises:
        ValueError: the format is another one, a file is damaged, or weights are missing.
        OSError: a file is missing or cannot be read.

    """
    folder = Path(folder)
    state = read_checkpoint(folder)
    config = json_object(folder / "config.json")
    for key in ("quantization_config", "compression_config", "sparsity_config"):
        config.pop(key, None)
    names = config.get("architectures")
    known = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    model_class: Any = getattr(transformers, known, None) if known.isidentifier() else None
    if not hasattr(model_class, "from_pretrained") or not hasattr(model_class, "config_class"):
        raise ValueError(f"{folder / 'config.json'} names no model of transformers: architectures is {names}")
    model, found = model_class.from_pretrained(
        None, config=model_class.config_class.from_dict(config), state_dict=state, output_loading_info=True,
        dtype=dtype or next((value.dtype for value in state.values() if value.is_floating_point()), torch.float32))
    if found["missing_keys"] or found["mismatched_keys"]:
        first = sorted(map(str, [*found["missing_keys"], *found["mismatched_keys"]]))[0]
        raise ValueError(f"{folder} is not a whole {known}: {first} is missing or of another shape")
    state.clear()
    model.sparamx_report = replace_linears(model, **options)
    return model.eval()


__all__ = ["SparamxConfig", "SparamxError", "SparamxQuantizer", "load_compressed", "load_gguf"]
