"""report.py --equal: pruned models beside dense ones of as many bytes or fewer, and which of them are the better."""

import json
import re
import sys
import tempfile
from pathlib import Path

import measures
from measures import call
from sweep import Sweep


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


def beside(row, rows):
    """The dense models of as many bytes or fewer."""
    return [other for other in rows if not other["share"] and other["bytes"] <= row["bytes"]]


def better_dense(row, rows):
    """Those of them that are at least as near to the original."""
    return [other for other in beside(row, rows) if other["kld"] <= row["kld"]]


def label(row):
    return f"{row['type']} with {row['share']:.0%} zeros" if row["share"] else row["type"]


def amounts(row):
    return f"{label(row)} (KL divergence {row['kld']:.4f}, {row['bytes'] / 1e6:.1f} MB)"


def verdict(rows):
    """One sentence: which pruned models no dense one of as many bytes or fewer beats. What is smaller than every dense
    model measured is nearer than none, and says nothing."""
    pruned = [row for row in rows if row["share"] and beside(row, rows)]
    worth = [row for row in pruned if not better_dense(row, rows)]
    if not pruned:
        return ("Nothing can be said: every pruned model is smaller than the smallest dense one measured, so measure "
                "smaller types too, or fewer zeros.")
    if worth:
        return ("Worth their bytes, with no dense model of as many or fewer that is as near to the original: "
                f"{', '.join(map(amounts, worth))}.")
    row = min(pruned, key=lambda row: row["kld"])
    other = min(better_dense(row, rows), key=lambda other: other["bytes"])
    return (f"Do not prune this model: for each pruned one there is a dense one of as many bytes or fewer that is as "
            f"near to the original or nearer, as {amounts(other)} is beside {amounts(row)}.")


TYPE = re.compile(r"^[A-Z][A-Z0-9_]*$")


def types_of(text):
    types = [part.strip().upper() for part in text.split(",")]
    if not all(TYPE.match(kind) for kind in types):
        raise ValueError(f"types are names that llama-quantize knows, separated by commas, not {text}")
    return types
