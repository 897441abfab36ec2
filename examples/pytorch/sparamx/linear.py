"""A linear layer with packed weights, and the operator by which torch.compile sees it."""

from typing import Any

import torch
from torch import nn

from .packed import Form, PackedMatrix, find
from .weights import WeightType, from_bytes, to_bytes


@torch.library.custom_op("sparamx::linear", mutates_args=())
def linear_op(x: torch.Tensor, key: torch.Tensor, bias: torch.Tensor | None, n: int) -> torch.Tensor:
    """``x @ W.T + bias`` for the packed matrix of this key, which has n rows."""
    return find(int(key.item())).apply(x, bias)


@linear_op.register_fake
def _(x: torch.Tensor, key: torch.Tensor, bias: torch.Tensor | None, n: int) -> torch.Tensor:
    return x.new_empty((*x.shape[:-1], n))


class SparamxLinear(nn.Module):
    """A linear layer whose weights are packed: ``y = x @ W.T + bias`` in x's type, for inference.

    It takes the place of ``nn.Linear`` (or of transformers' ``Conv1D``, whose matrix lies the other way round).
    ``state_dict`` has ordinary weights under the same names: those that were packed, bit for bit, where the type is
    lossless, and what the quantized type holds of them elsewhere. ``load_state_dict`` packs anew. It can be copied and
    pickled. ``weight`` is a tensor on the meta device: it tells shape and type, and has no data.

    Args:
        weight: [N, K] matrix.
        bias: [N] or None.
        weight_type: the type it is packed in; see ``weights.choose``.
        form: a ``Form``.
        transposed: ``state_dict`` and ``weight`` show K x N, as Conv1D has it.

    """

    packed: PackedMatrix
    _key: torch.Tensor

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, weight_type: WeightType,
                 form: Form = Form.AUTO, transposed: bool = False) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.form, self.weight_type, self.dtype, self.transposed = form, weight_type, weight.dtype, transposed
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self.register_buffer("_key", torch.zeros(1, dtype=torch.int64), persistent=False)
        self._pack(weight)

    def _pack(self, weight: torch.Tensor) -> None:
        self.packed = PackedMatrix(self.weight_type, self.out_features, self.in_features,
                                   to_bytes(weight, self.weight_type), self.form)
        self._key = torch.tensor([self.packed.key])

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Of a copy, whose packed weights have another key."""
        super().__setstate__(state)
        self._key = torch.tensor([self.packed.key])

    @property
    def weight(self) -> torch.Tensor:
        """Shape and type of the weights, without data."""
        shape = (self.out_features, self.in_features)
        return torch.empty(shape[::-1] if self.transposed else shape, dtype=self.dtype, device="meta")

    def dense_weight(self) -> torch.Tensor:
        """The weights, unpacked: as they were given in lossless types."""
        weight = from_bytes(self.packed.read(), self.weight_type).to(self.dtype)
        return weight.t().contiguous() if self.transposed else weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., K] to [..., N], in x's type; under autocast in autocast's."""
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        # The operator has no gradient and says so when one is asked for.
        if torch.compiler.is_compiling() or (x.requires_grad and torch.is_grad_enabled()):
            result: torch.Tensor = linear_op(x, self._key, self.bias, self.out_features)
            return result
        return self.packed.apply(x, self.bias)

    def extra_repr(self) -> str:
        """What ``print(model)`` shows."""
        return (f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, "
                f"weights={self.weight_type.name}, form={self.packed.form.name.lower()}")

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "weight"] = self.dense_weight()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any],
                              strict: bool, missing_keys: list[str], unexpected_keys: list[str],
                              error_msgs: list[str]) -> None:
        key = prefix + "weight"
        weight = state_dict.pop(key, None)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
                                      error_msgs)
        if weight is None:
            if strict:
                missing_keys.append(key)
            return
        state_dict[key] = weight
        if weight.shape != self.weight.shape:
            error_msgs.append(f"size mismatch for {key}: {tuple(weight.shape)} in the checkpoint, "
                              f"{tuple(self.weight.shape)} in the model")
            return
        weight = weight.to(self.dtype)
        self._pack(weight.t() if self.transposed else weight)
