"""report.py --equal: pruned models beside dense ones of as many bytes or fewer, and which of them are the better."""

import json
import math
import re
import sys
import tempfile
from pathlib import Path

import measures
from measures import call
from sweep import Sweep


NEAREST = 1e-6  # no divergence is taken for smaller: a logarithm of it is needed, and rounding makes some negative


def rows_of(host, dense, texts, types, shares, method, imatrix, gram, build, progress):
    """[{type, share, bytes, bits, ppl, kld, same_top, speed}]: the model in each type, dense and with each share of its
    zeros. bytes: of all its tensors, as the library packs them; bits: per weight of the matrices."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        sweep = Sweep(host, dense, texts, folder, imatrix, gram)
        quantized = Path(folder) / "quantized.gguf"
        for share, kind in progress([(share, kind) for share in (0.0, *shares) for kind in types]):
            if share and kind == types[0]:
                sweep.prune(method, share)
            source = sweep.pruned if share else dense
            call([host.bin / "llama-quantize", "--allow-requantize", source, quantized, kind, host.threads])
            rows.append({"type": kind, "share": share, **size(quantized, build), **sweep.measure(quantized),
                         "speed": host.speed(quantized, share > 0) if host.plugin else None})
            quantized.unlink()
    return rows


def size(model, build):
    """Of the file as the library packs it; what it does not take counts as in the file."""
    told = json.loads(call([build / "examples/sparamx-explain", "--json", model], only_stdout=True))
    tensors = told["tensors"]
    n_bytes = sum(tensor["bytes"] if tensor["taken"] else tensor["file_bytes"] for tensor in tensors)
    report = measures.count_zeros(model)
    return {"bytes": n_bytes, "bits": 8 * n_bytes / max(1, sum(matrix.weights for matrix in report.matrices))}


def level(build, model):
    """The instruction set level that the library uses here: its speeds mean something from avx512 on."""
    return json.loads(call([build / "examples/sparamx-explain", "--json", model], only_stdout=True))["machine"]["isa"]


def of_dense(row, rows):
    """The KL divergence that dense models of as many bytes have: on the line between the next smaller and the next
    larger one, with a logarithmic axis; of the smaller one if there is no larger. None below the smallest."""
    dense = sorted((other["bytes"], max(other["kld"], NEAREST)) for other in rows if not other["share"])
    smaller = [place for place in dense if place[0] <= row["bytes"]]
    larger = [place for place in dense if place[0] > row["bytes"]]
    if not smaller:
        return None
    best = min(kld for _, kld in smaller)
    if not larger:
        return best
    (low, far), (high, near) = smaller[-1], larger[0]
    part = (row["bytes"] - low) / (high - low)
    return min(best, math.exp(math.log(far) * (1 - part) + math.log(near) * part))


def label(row):
    return f"{row['type']} with {row['share']:.0%} zeros" if row["share"] else row["type"]


def amounts(row):
    return f"{label(row)} (KL divergence {row['kld']:.4f}, {row['bytes'] / 1e6:.1f} MB)"


def verdict(rows):
    """One sentence: which pruned models are nearer to the original than dense ones of as many bytes. What is smaller
    than every dense model measured has nothing beside it, and says nothing."""
    pruned = [(row, line) for row in rows if row["share"] and (line := of_dense(row, rows)) is not None]
    worth = [row for row, line in pruned if row["kld"] < line]
    if not pruned:
        return ("Nothing can be said: every pruned model is smaller than the smallest dense one measured, so measure "
                "smaller types too, or fewer zeros.")
    if worth:
        return ("Worth their bytes, nearer to the original than dense models of as many bytes: "
                f"{', '.join(map(amounts, worth))}.")
    row, line = min(pruned, key=lambda pair: pair[0]["kld"] / pair[1])
    return (f"Do not prune this model: dense ones of as many bytes are nearer to the original; the best pruned one "
            f"beside them is {amounts(row)}, where the line of the dense ones is at {line:.4f}.")


TYPE = re.compile(r"^[A-Z][A-Z0-9_]*$")


def types_of(text):
    types = [part.strip().upper() for part in text.split(",")]
    if not all(TYPE.match(kind) for kind in types):
        raise ValueError(f"types are names that llama-quantize knows, separated by commas, not {text}")
    return types
