"""The structs of ``sparamx.h`` that are used here, as ctypes has them. Field for field those of the header."""

import ctypes
from ctypes import c_char, c_char_p, c_double, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p


class Capability(ctypes.Structure):
    """``sparamx_capability``: what this machine may use, and why not more."""

    _fields_ = [
        ("size", c_uint32), ("isa", c_int32), ("status", c_int32), ("avx512", c_int32), ("amx", c_int32),
        ("cpus", c_int32), ("numa_nodes", c_int32), ("amx_errno", c_int32), ("avx512_reason", c_char_p),
        ("amx_reason", c_char_p), ("cpu", c_char * 64),
    ]


class LinearOptions(ctypes.Structure):
    """``sparamx_linear_options``."""

    _fields_ = [
        ("size", c_uint32), ("form", c_int32), ("pack_threads", c_int32), ("numa", c_int32), ("kernel", c_char_p),
    ]


class KernelRange(ctypes.Structure):
    """``sparamx_kernel_range``."""

    _fields_ = [("m_min", c_int64), ("m_max", c_int64), ("name", c_char_p)]


class TensorInfo(ctypes.Structure):
    """``sparamx_tensor_info``, as far as it went when whole layers were added."""

    _fields_ = [
        ("size", c_uint32), ("type", c_int32), ("form", c_int32), ("n_kernels", c_int32), ("n", c_int64),
        ("k", c_int64), ("matrices", c_int64), ("source_bytes", c_uint64), ("packed_bytes", c_uint64),
        ("background", c_uint64), ("sparsity", c_double), ("bits_per_weight", c_double), ("reason", c_char_p),
        ("kernels", KernelRange * 8), ("n_ranges", c_int32), ("mapped", c_int32), ("ranges", KernelRange * 16),
    ]


class LinearCall(ctypes.Structure):
    """``sparamx_linear_call``: one layer's call."""

    _fields_ = [
        ("size", c_uint32), ("x_type", c_int32), ("y_type", c_int32), ("bias_type", c_int32), ("m", c_int64),
        ("ldx", c_int64), ("ldy", c_int64), ("x", c_void_p), ("y", c_void_p), ("bias", c_void_p),
        ("parallel", c_void_p), ("user", c_void_p), ("tasks", c_int32), ("reserved", c_int32),
        ("work_size", c_size_t), ("work", c_void_p),
    ]
