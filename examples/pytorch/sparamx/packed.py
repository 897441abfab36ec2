"""One packed matrix: weights as the library keeps them, and products with tensors of PyTorch."""

import ctypes
import enum
import threading
import weakref
from ctypes import c_int32, c_size_t, c_void_p
from typing import Any

import torch

from .library import check, library, openmp_loop
from .structs import LinearCall, LinearOptions, TensorInfo


class WeightType(enum.IntEnum):
    """Types of weights that the library packs, by their number in the GGUF format."""

    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q5_0 = 6
    Q5_1 = 7
    Q8_0 = 8
    Q2_K = 10
    Q3_K = 11
    Q4_K = 12
    Q5_K = 13
    Q6_K = 14
    IQ4_NL = 20
    IQ4_XS = 23
    BF16 = 30
    MXFP4 = 39
    NVFP4 = 40
    Q1_0 = 41
    Q2_0 = 42


class Form(enum.IntEnum):
    """How a weight is kept.

    AUTO is whichever of DENSE and SPARSE takes fewer bytes by a margin. The coded forms of bfloat16 have 12 bits for
    each weight that is kept, without loss; AUTO_CODED chooses among all.
    """

    AUTO = 0
    DENSE = 1
    SPARSE = 2
    CODED = 4
    CODED_SPARSE = 5
    AUTO_CODED = 6


ELEMENTS = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 30}
"""The types that activations, biases and results may have."""

_scratch = threading.local()
_registry: "weakref.WeakValueDictionary[int, PackedMatrix]" = weakref.WeakValueDictionary()
_lock = threading.Lock()
_last_key = 0


def find(key: int) -> "PackedMatrix":
    """The matrix with this key.

    Raises:
        RuntimeError: it is gone.

    """
    matrix = _registry.get(key)
    if matrix is None:
        raise RuntimeError("the packed weights of this layer are gone: the layer that owned them was deleted")
    return matrix


def _register(matrix: "PackedMatrix") -> int:
    global _last_key
    with _lock:
        _last_key += 1
        _registry[_last_key] = matrix
        return _last_key


class PackedMatrix:
    """N x K weights in packed form.

    Any number of threads may multiply with it at the same time. It can be pickled and copied: what travels are the
    weights in their file layout, which are packed anew.

    Args:
        weight_type: number of the type in the GGUF format, such as ``WeightType.BF16``.
        n: rows (outputs).
        k: columns (inputs), a multiple of the type's block.
        data: contiguous uint8 tensor with the N rows in the type's GGUF layout. It is only read here.
        form: a ``Form``.

    Raises:
        SparamxError: the library refuses the type, the shape, or has no memory.

    """

    def __init__(self, weight_type: int, n: int, k: int, data: torch.Tensor, form: int = Form.AUTO) -> None:
        self._handle: int | None = None
        if data.dtype != torch.uint8 or not data.is_contiguous() or data.device.type != "cpu":
            raise ValueError("data has to be a contiguous uint8 tensor on the CPU")
        if n > 0 and data.numel() % n != 0:
            raise ValueError(f"{data.numel()} bytes are no {n} rows")
        options = LinearOptions(size=ctypes.sizeof(LinearOptions), form=int(form))
        handle = c_void_p()
        # A stride shorter than a row is refused by the library, a longer one is what lies there.
        check(library().sparamx_linear_create(int(weight_type), n, k, data.data_ptr(), data.numel() // max(n, 1),
                                              ctypes.byref(options), ctypes.byref(handle)))
        self._adopt(handle)

    @classmethod
    def load(cls, file: c_void_p, name: str, verify: bool = False) -> "PackedMatrix":
        """The matrix of this name in an open packed file, mapped: ``load_packed`` is for whole models.

        verify: read all of it and compare the checksums first.
        """
        index, handle = c_int32(), c_void_p()
        check(library().sparamx_file_find(file, name.encode(), ctypes.byref(index)), name)
        if verify:
            check(library().sparamx_file_verify(file, index), name)
        check(library().sparamx_linear_load(file, index, None, ctypes.byref(handle)), name)
        matrix = cls.__new__(cls)
        matrix._adopt(handle)
        return matrix

    def _adopt(self, handle: c_void_p) -> None:
        self._handle = handle.value
        info = self.info()
        self.weight_type, self.n, self.k, self.form = info.type, info.n, info.k, Form(info.form)
        self._row_bytes = info.source_bytes // info.n
        self.key = _register(self)

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            library().sparamx_linear_destroy(self._handle)
            self._handle = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.weight_type, self.n, self.k, self.read(), int(self.form))

    def __deepcopy__(self, memo: dict[int, Any]) -> "PackedMatrix":
        return type(self)(self.weight_type, self.n, self.k, self.read(), self.form)

    def save(self, writer: c_void_p, name: str) -> None:
        """Adds it to a packed file that is being written: ``save_packed`` is for whole models."""
        check(library().sparamx_file_writer_add_linear(writer, name.encode(), self._handle), name)

    def info(self) -> TensorInfo:
        """Fields as in ``sparamx_tensor_info``: form, bytes, zeros, kernels and the reason for the form."""
        info = TensorInfo(size=ctypes.sizeof(TensorInfo))
        check(library().sparamx_linear_info(self._handle, ctypes.byref(info)))
        return info

    def read(self) -> torch.Tensor:
        """The rows in the type's GGUF layout, byte for byte as they were packed: uint8, N x bytes of a row."""
        out = torch.empty(self.n, self._row_bytes, dtype=torch.uint8)
        check(library().sparamx_linear_read(self._handle, 0, self.n, out.data_ptr()))
        return out

    def verify(self) -> None:
        """Raises SparamxError if the packed form is not what packing can have written."""
        check(library().sparamx_linear_verify(self._handle))

    def apply(self, x: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """Computes ``x @ W.T + bias``.

        Args:
            x: [..., K] in float32, float16 or bfloat16, on the CPU.
            bias: [N] in one of these types, or None.

        Returns:
            [..., N] in the type of x. Sums are made and the bias is added in float32, and rounded once.

        Raises:
            ValueError: shapes, types or devices that cannot be multiplied.

        """
        self._require(x, bias)
        rows = x.reshape(-1, self.k)
        if rows.stride(1) != 1 or (rows.shape[0] > 1 and rows.stride(0) < self.k):
            rows = rows.contiguous()
        m = rows.shape[0]
        y = torch.empty(m, self.n, dtype=x.dtype)
        if m > 0:
            loop, user = openmp_loop()
            call = LinearCall(size=ctypes.sizeof(LinearCall), x_type=ELEMENTS[x.dtype], y_type=ELEMENTS[x.dtype], m=m,
                              ldx=rows.stride(0) if m > 1 else self.k, ldy=self.n, x=rows.data_ptr(), y=y.data_ptr(),
                              parallel=loop, user=user, tasks=min(torch.get_num_threads(), 1024))
            if bias is not None:
                bias = bias.contiguous()
                call.bias, call.bias_type = bias.data_ptr(), ELEMENTS[bias.dtype]
            size = c_size_t()
            check(library().sparamx_linear_call_work_size(self._handle, ctypes.byref(call), ctypes.byref(size)))
            work = _work_area(size.value)
            call.work, call.work_size = work.data_ptr(), work.numel()
            check(library().sparamx_linear_apply(self._handle, ctypes.byref(call)))
        return y.reshape(*x.shape[:-1], self.n)

    def _require(self, x: torch.Tensor, bias: torch.Tensor | None) -> None:
        if x.dim() == 0 or x.shape[-1] != self.k:
            raise ValueError(f"activations of shape {tuple(x.shape)} cannot be multiplied with a weight of {self.n} x "
                             f"{self.k}: their last dimension has to be {self.k}")
        for what, tensor in (("activations", x), ("a bias", bias)):
            if tensor is None:
                continue
            if tensor.dtype not in ELEMENTS:
                raise ValueError(f"{what} of {tensor.dtype} are not served: use float32, bfloat16 or float16")
            if tensor.device.type != "cpu":
                raise ValueError(f"{what} on {tensor.device} are not served: packed weights are on the CPU")
        if bias is not None and tuple(bias.shape) != (self.n,):
            raise ValueError(f"a bias of shape {tuple(bias.shape)} does not fit {self.n} outputs")


def _work_area(size: int) -> torch.Tensor:
    """Scratch memory of this thread, at least size bytes, kept for its next call."""
    area: torch.Tensor | None = getattr(_scratch, "area", None)
    if area is None or area.numel() < size:
        area = torch.empty(size, dtype=torch.uint8)
        _scratch.area = area
    return area
