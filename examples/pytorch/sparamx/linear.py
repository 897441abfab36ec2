"""A linear layer with packed weights, and the operator by which torch.compile sees it."""

from typing import Any

import torch
from torch import nn

from .packed import Form, PackedMatrix, WeightType, find
from .weights import NAMES, from_bytes, to_bytes, without_negative_zeros


@torch.library.custom_op("sparamx::linear", mutates_args=())
def linear_op(x: torch.Tensor, key: torch.Tensor, bias: torch.Tensor | None, n: int) -> torch.Tensor:
    """``x @ W.T + bias`` for the packed matrix of this key, which has n rows."""
    return find(int(key.item())).apply(x, bias)


@linear_op.register_fake
def _(x: torch.Tensor, key: torch.Tensor, bias: torch.Tensor | None, n: int) -> torch.Tensor:
    return x.new_empty((*x.shape[:-1], n))


class PackedWeight(torch.Tensor):
    """Shape and type of weights that are packed. Whoever computes with it gets an exception instead of numbers."""

    ASKS = frozenset({"__get__", "size", "dim", "ndimension", "numel", "nelement", "stride", "element_size",
                      "is_floating_point", "is_complex", "is_contiguous", "__len__", "__repr__"})

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Answers questions and refuses the rest."""
        if getattr(function, "__name__", "") not in cls.ASKS:
            raise RuntimeError("the weights of a SparamxLinear are packed: call the layer, or dense_weight() for them; "
                               "a module that reads the weight itself belongs into skip=... of replace_linears")
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **(kwargs or {}))


class SparamxLinear(nn.Module):
    """A linear layer whose weights are packed: ``y = x @ W.T + bias`` in x's type, for inference.

    It takes the place of ``nn.Linear`` (or of transformers' ``Conv1D``, whose matrix lies the other way round).
    ``state_dict`` has ordinary weights under the same names: those that were packed, bit for bit, where the type is
    lossless (but that -0.0 becomes 0.0), and what the quantized type holds of them elsewhere. ``load_state_dict`` packs
    anew. It can be copied and pickled. ``weight`` is a tensor on the meta device: it tells shape and type, and has no
    data.

    Args:
        weight: [N, K] matrix.
        bias: [N] or None.
        weight_type: the type it is packed in; see ``weights.choose``.
        form: a ``Form``.
        transposed: ``state_dict`` and ``weight`` show K x N, as Conv1D has it.

    """

    packed: PackedMatrix
    source: str = ""
    """The tensors of a GGUF file that its blocks are of."""
    _key: torch.Tensor

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, weight_type: WeightType,
                 form: Form = Form.AUTO, transposed: bool = False) -> None:
        n, k = weight.shape
        packed = PackedMatrix(weight_type, n, k, to_bytes(without_negative_zeros(weight), weight_type), form)
        self._begin(packed, bias, weight.dtype, form, transposed)

    @classmethod
    def from_packed(cls, packed: PackedMatrix, bias: torch.Tensor | None, dtype: torch.dtype,
                    transposed: bool = False) -> "SparamxLinear":
        """A layer with a matrix that is packed already.

        Args:
            packed: the matrix.
            bias: [N] or None.
            dtype: that of the weights in ``state_dict``.
            transposed: as for the class.

        """
        layer = cls.__new__(cls)
        layer._begin(packed, bias, dtype, Form.AUTO, transposed)
        return layer

    def _begin(self, packed: PackedMatrix, bias: torch.Tensor | None, dtype: torch.dtype, form: Form,
               transposed: bool) -> None:
        super().__init__()
        self.packed, self.out_features, self.in_features = packed, packed.n, packed.k
        self.form, self.dtype, self.transposed = form, dtype, transposed
        self.weight_type = WeightType(packed.weight_type)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self.register_buffer("_key", torch.tensor([packed.key]), persistent=False)

    def _pack(self, weight: torch.Tensor) -> None:
        self.packed = PackedMatrix(self.weight_type, self.out_features, self.in_features,
                                   to_bytes(without_negative_zeros(weight), self.weight_type), self.form)
        self._key = torch.tensor([self.packed.key])

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Of a copy, whose packed weights have another key."""
        super().__setstate__(state)
        self._key = torch.tensor([self.packed.key])

    @property
    def weight(self) -> torch.Tensor:
        """Shape and type of the weights, without data: a ``PackedWeight``."""
        shape = (self.out_features, self.in_features)
        empty = torch.empty(shape[::-1] if self.transposed else shape, dtype=self.dtype, device="meta")
        return empty.as_subclass(PackedWeight)

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
        if self.weight_type not in NAMES.values():
            # These types are not made here. What they hold already may be given again.
            if not torch.equal(weight.nan_to_num(), self.dense_weight().nan_to_num()):
                error_msgs.append(f"{key} is packed in {self.weight_type.name}, as a GGUF file had it, and other "
                                  "weights cannot be brought into this type: load them into a model that is not packed")
            return
        self._pack(weight.t() if self.transposed else weight)
