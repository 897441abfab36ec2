"""llama.cpp's importance matrices, as llama-imatrix writes them, in both formats: GGUF and the legacy .dat."""

import re
import struct
from pathlib import Path

import numpy as np

from container import Container, Fault

LARGEST_NAME = 1 << 16


def load(path):
    """{tensor: mean square of each input element, (matrices, columns) in float32}; one matrix, or one per expert."""
    path = Path(path)
    try:
        with open(path, "rb") as file:
            is_gguf = file.read(4) == b"GGUF"
        means = from_gguf(path) if is_gguf else from_legacy(path)
    except OSError as error:
        raise Fault(f"{path} cannot be read: {error.strerror or error}") from None
    for name, mean in means.items():
        if not (np.isfinite(mean).all() and (mean >= 0).all()):
            raise Fault(f"{path} has an entry for {name} that is negative or no number")
    if not means:
        raise Fault(f"{path} has no entries")
    return means


def from_gguf(path):
    """Two tensors per matrix: sums of squares, and how many tokens they were added up over."""
    container = Container(path)
    tensors = {tensor.name: container.read(tensor).view(np.float32) for tensor in container.tensors
               if tensor.type == 0}
    means = {}
    for name, sums in tensors.items():
        if not name.endswith(".in_sum2"):
            continue
        name = name.removesuffix(".in_sum2")
        counts = tensors.get(name + ".counts")
        if counts is None or counts.size != len(sums):
            raise Fault(f"{path} has no counts that fit its sums for {name}")
        counts = counts.reshape(-1, 1)
        if not (np.isfinite(counts).all() and (counts >= 0).all()):
            raise Fault(f"{path} has a count for {name} that is negative or no number")
        # An expert that no token came to: all its inputs count alike, as they do for llama-quantize.
        means[name] = np.divide(sums, counts, out=np.ones_like(sums), where=counts > 0)
    return means


def from_legacy(path):
    """Entries of name, number of calls, and that number times the mean squares. Experts stand one after the other."""
    data = path.read_bytes()
    at = 0

    def take(form):
        nonlocal at
        if at + struct.calcsize(form) > len(data):
            raise Fault(f"{path} is no importance matrix that can be used: it ends too early")
        found = struct.unpack_from(form, data, at)
        at += struct.calcsize(form)
        return found

    means = {}
    (n_entries,) = take("<i")
    if n_entries < 1:
        raise Fault(f"{path} is no importance matrix that can be used: it claims {n_entries} entries")
    for _ in range(n_entries):
        (length,) = take("<i")
        if not 1 <= length <= LARGEST_NAME:
            raise Fault(f"{path} is no importance matrix that can be used: a name has {length} bytes")
        name = take(f"<{length}s")[0].decode(errors="backslashreplace")
        n_calls, n_values = take("<ii")
        if n_calls < 0:
            raise Fault(f"{path} is no importance matrix that can be used: {name} has a count of {n_calls}")
        if n_values < 1:
            raise Fault(f"{path} is no importance matrix that can be used: {name} has {n_values} values")
        if at + 4 * n_values > len(data):
            raise Fault(f"{path} is no importance matrix that can be used: it ends too early")
        values = np.frombuffer(data, dtype="<f4", count=n_values, offset=at)
        at += 4 * n_values
        means[name] = (values / max(n_calls, 1)).reshape(1, -1)
    return means


ONE_EXPERT = re.compile(r"^(blk\.\d+\.ffn_(?:gate|up|down))\.(\d+)\.weight$")


def entry(means, tensor):
    """The mean squares of a tensor of the model, None if there are none. Of an expert that is a tensor of its own they
    may be a row of those of all experts."""
    mean = means.get(tensor.name)
    expert = ONE_EXPERT.match(tensor.name)
    if mean is None and expert:
        of_all = means.get(f"{expert[1]}_exps.weight")
        if of_all is not None and int(expert[2]) < len(of_all):
            mean = of_all[int(expert[2])]
    return mean


def norms(means, tensor, path):
    """(the input norm of each weight's column, (1 or matrices, columns), for a tensor of the model; what of it has no
    norms but zeros, in words, or None: ones stand there, which is the choice by magnitude)."""
    mean = entry(means, tensor)
    if mean is None:
        raise Fault(f"{path} has no entry for {tensor.name}: exclude this tensor, or make the matrix with this model")
    matrices = tensor.shape[0] if len(tensor.shape) == 3 else 1
    if mean.size not in (tensor.columns, matrices * tensor.columns):
        raise Fault(f"{path} has {mean.size} values for {tensor.name}, whose rows have {tensor.columns} weights")
    found = np.sqrt(mean.reshape(-1, tensor.columns), dtype=np.float32)
    empty = ~found.any(axis=1)
    if not empty.any():
        return found, None
    found = np.where(empty[:, None], np.float32(1), found)
    return found, "the whole matrix" if len(found) == 1 else f"{int(empty.sum())} of {len(found)} experts"
