"""Transformers' way in: ``from_pretrained(..., quantization_config=SparamxConfig())``.

Importing this module registers "sparamx" as a quantization method.
"""

from typing import Any

from torch import nn

from .library import SparamxError
from .model import replace_linears
from .weights import NAMES

try:
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


__all__ = ["SparamxConfig", "SparamxError", "SparamxQuantizer"]
