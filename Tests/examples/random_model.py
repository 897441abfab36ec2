#!/usr/bin/env python3
"""random_model.py LIBRARY FOLDER TYPE... - FOLDER/TYPE.gguf: a few matrices of random blocks of a type that the PyPI
package gguf does not make. The blocks come from examples/common/pruned.c, compiled into LIBRARY.
"""
import ctypes
import pathlib
import sys

import gguf
import numpy as np

from check_quants import type_of

EXPERTS, USED = 4, 1
# name: rows, columns, share of zeros
SHAPES = {"blk.0.attn_q.weight": (64, 512, 0.5), "blk.0.ffn_down.weight": (83, 768, 0.7), "output.weight": (96, 512, 0),
          "blk.0.ffn_up_exps.weight": (EXPERTS * 48, 256, 0.5)}


def blocks(library, kind, rows, columns, share, seed):
    block, size = gguf.constants.GGML_QUANT_SIZES[kind]
    data = np.zeros((rows, columns // block * size), dtype=np.uint8)
    scratch, state = np.zeros(columns, dtype=np.uint8), ctypes.c_uint64(seed)
    for row in data:
        at = ctypes.c_void_p(row.ctypes.data)
        library.pruned_random(ctypes.c_uint32(kind), at, ctypes.c_int64(columns), ctypes.byref(state))
        library.pruned_set(ctypes.c_uint32(kind), at, ctypes.c_int64(columns), ctypes.c_int64(round(columns * share)),
                           ctypes.byref(state), ctypes.c_void_p(scratch.ctypes.data))
    return data


def main(arguments):
    if len(arguments) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    library = ctypes.CDLL(arguments[0])
    for name in arguments[2:]:
        kind, *size = type_of(name.upper())
        gguf.constants.GGML_QUANT_SIZES.setdefault(kind, tuple(size))  # the writer asks there, also for what it lacks
        writer = gguf.GGUFWriter(pathlib.Path(arguments[1]) / f"{name}.gguf", "llama")
        writer.add_name(f"random blocks of {name}")
        writer.add_expert_count(EXPERTS)
        writer.add_expert_used_count(USED)
        for seed, (tensor, shape) in enumerate(SHAPES.items()):
            data = blocks(library, kind, *shape, seed)
            if "_exps" in tensor:
                data = data.reshape(EXPERTS, -1, data.shape[1])
            writer.add_tensor(tensor, data, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
