"""host_reader.py LIBGGML FILE - what ggml's own reader says about a file: exit status 0 and one line of JSON, [name,
shape, bytes] per tensor, or status 1. A file that ends before its tensors do is refused here as llama.cpp's loader
does it. A process of its own, since the reader of another version could abort.
"""
import ctypes
import json
import os
import sys


class Parameters(ctypes.Structure):
    _fields_ = [("no_alloc", ctypes.c_bool), ("context", ctypes.c_void_p)]


def main(library, path):
    ggml = ctypes.CDLL(library)
    for name, result, *arguments in (
            ("gguf_init_from_file", ctypes.c_void_p, ctypes.c_char_p, Parameters),
            ("gguf_get_n_tensors", ctypes.c_int64, ctypes.c_void_p),
            ("gguf_get_data_offset", ctypes.c_size_t, ctypes.c_void_p),
            ("gguf_get_tensor_name", ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64),
            ("gguf_get_tensor_offset", ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int64),
            ("gguf_get_tensor_size", ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int64)):
        function = getattr(ggml, name)
        function.restype, function.argtypes = result, arguments
    context = ggml.gguf_init_from_file(os.fsencode(path), Parameters(True, None))
    if not context:
        return 1
    begin, tensors = ggml.gguf_get_data_offset(context), []
    for i in range(ggml.gguf_get_n_tensors(context)):
        size = ggml.gguf_get_tensor_size(context, i)
        if begin + ggml.gguf_get_tensor_offset(context, i) + size > os.path.getsize(path):
            return 1
        tensors.append([ggml.gguf_get_tensor_name(context, i).decode("latin1"), size])
    print(json.dumps(tensors))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
