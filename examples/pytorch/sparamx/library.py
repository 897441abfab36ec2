"""The C library: where it is, what it says about this machine, and its errors as exceptions.

The wheel has the library inside. ``SPARAMX_LIBRARY=DIR`` names a folder with another one, such as the build folder of
its sources; it holds ``libsparamx.so.0`` and ``libsparamx-openmp.so``.
"""

import ctypes
import functools
import os
import re
from ctypes import POINTER, c_char_p, c_int32, c_int64, c_size_t, c_uint32, c_void_p
from pathlib import Path
from typing import Any

from .structs import Capability, LinearCall, LinearOptions, TensorInfo

ABI = 1
LEVELS = ("reference", "AVX-512", "AMX")


class SparamxError(RuntimeError):
    """A call of the library failed. ``status`` is its number in ``sparamx.h``; the message is the library's own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[type, tuple[int, str]]:
        return type(self), (self.status, str(self))


def _folder() -> Path:
    named = os.environ.get("SPARAMX_LIBRARY")
    return Path(named) if named else Path(__file__).parent / "lib"


@functools.cache
def library() -> ctypes.CDLL:
    """The loaded library, with the types of the functions that are used here.

    Raises:
        ImportError: it cannot be loaded, or is older than this package.

    """
    path = _folder() / "libsparamx.so.0"
    try:
        lib = ctypes.CDLL(str(path))
    except OSError as error:
        raise ImportError(f"{path} cannot be loaded ({error}). Install the wheel, or set SPARAMX_LIBRARY to the folder "
                          "that holds libsparamx.so.0 and libsparamx-openmp.so.") from error
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "version": (c_char_p, []),
        "status_string": (c_char_p, [c_int32]),
        "get_capability": (c_int32, [POINTER(Capability)]),
        "linear_create": (c_int32, [c_int32, c_int64, c_int64, c_void_p, c_size_t, POINTER(LinearOptions),
                                    POINTER(c_void_p)]),
        "linear_destroy": (None, [c_void_p]),
        "linear_read": (c_int32, [c_void_p, c_int64, c_int64, c_void_p]),
        "linear_info": (c_int32, [c_void_p, POINTER(TensorInfo)]),
        "linear_verify": (c_int32, [c_void_p]),
        "linear_call_work_size": (c_int32, [c_void_p, POINTER(LinearCall), POINTER(c_size_t)]),
        "linear_apply": (c_int32, [c_void_p, POINTER(LinearCall)]),
        "get_api": (c_void_p, [c_uint32]),
        "file_writer_create": (c_int32, [c_char_p, c_void_p, c_size_t, POINTER(c_void_p)]),
        "file_writer_add_linear": (c_int32, [c_void_p, c_char_p, c_void_p]),
        "file_writer_finish": (c_int32, [c_void_p]),
        "file_writer_destroy": (None, [c_void_p]),
        "file_open": (c_int32, [c_char_p, POINTER(c_void_p)]),
        "file_close": (None, [c_void_p]),
        "file_find": (c_int32, [c_void_p, c_char_p, POINTER(c_int32)]),
        "file_verify": (c_int32, [c_void_p, c_int32]),
        "linear_load": (c_int32, [c_void_p, c_int32, POINTER(LinearOptions), POINTER(c_void_p)]),
    }
    for name, (result, arguments) in signatures.items():
        try:
            function = getattr(lib, f"sparamx_{name}")
        except AttributeError:
            raise ImportError(f"{path} is too old for this package: it has no sparamx_{name}. Install a newer "
                              "libsparamx.") from None
        function.restype, function.argtypes = result, arguments
    if not lib.sparamx_get_api(ABI):
        raise ImportError(f"{path} is too new for this package: it does not speak binary interface {ABI}. Install a "
                          "newer sparamx package.")
    return lib


def check(status: int, what: str = "") -> None:
    """Raises SparamxError with the library's sentence unless status is 0; what: a name to begin it with."""
    if status != 0:
        sentence = library().sparamx_status_string(status).decode()
        raise SparamxError(status, f"{what}: {sentence}" if what else sentence)


@functools.cache
def capability() -> Capability:
    """What this process may use: fields as in ``sparamx_capability``."""
    found = Capability(size=ctypes.sizeof(Capability))
    check(library().sparamx_get_capability(ctypes.byref(found)))
    check(found.status)
    return found


def version() -> str:
    """The version of the library that is loaded."""
    return str(library().sparamx_version().decode())


@functools.cache
def openmp_loop() -> tuple[int, int]:
    """The parallel loop for a call and what it wants as ``user``: two addresses, both 0 where there is no OpenMP.

    Without OpenMP all tasks of a call run on the calling thread.
    """
    parallel = _find_gomp_parallel()
    if parallel == 0:
        return 0, 0
    try:
        loop = ctypes.CDLL(str(_folder() / "libsparamx-openmp.so")).sparamx_openmp_loop
    except (OSError, AttributeError) as error:
        raise ImportError(f"libsparamx-openmp.so beside the library cannot be loaded: {error}") from error
    return ctypes.cast(loop, c_void_p).value or 0, parallel


def _find_gomp_parallel() -> int:
    """The entry point of the OpenMP runtime that PyTorch has loaded, 0 if there is none."""
    candidates: list[str | None] = [None]
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        paths = {line.split(maxsplit=5)[-1].strip() for line in maps if ".so" in line}
    candidates += sorted(path for path in paths if re.match(r"lib[gi]?omp", Path(path).name))
    for path in candidates:
        try:
            return ctypes.cast(ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_NOW).GOMP_parallel, c_void_p).value or 0
        except (OSError, AttributeError):
            continue
    return 0
