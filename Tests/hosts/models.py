"""Tiny llama-shaped models for the host tests, made by examples/make_model.py, and by the host's quantizer from these.

A model of random weights is undecided: its largest logits lie close together, so rounding alone changes the top token
more often than in a trained model (llama.cpp against itself, Q8_0, with another batch size: 1.9% of the tokens). So the
output matrix is given a preference: each row also points along one token's embedding, and the text goes in circles.
"""

import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np

MAKE_MODEL = Path(__file__).resolve().parents[2] / "examples" / "make_model.py"
PREFERENCE = 0.45  # of the output rows for their token, against noise of 1/16 per element; top probability about 0.4
TYPES = ("bf16", "f16", "q8_0")  # which the gguf package makes; the others come from the host's llama-quantize
SPARSITIES = (0.0, 0.5)
QUANTIZER = {kind: (kind,) for kind in ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M",
                                        "Q6_K", "IQ4_NL", "IQ4_XS")}
# llama-quantize has no MXFP4 for models without experts and no NVFP4, but takes them for single tensors.
QUANTIZER |= {kind: ("--tensor-type", f"attn={kind.lower()}", "--tensor-type", f"ffn={kind.lower()}", "Q8_0")
              for kind in ("MXFP4", "NVFP4")}
QUANTIZER_ROWS = ("--ff", "768")  # rows of whole blocks of 256, or the quantizer would choose other types
N_SPECIAL_TOKENS = 3  # they get no preference: no end of text


def add_preference(path):
    reader = gguf.GGUFReader(path, "r+")
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    embedding, output = tensors["token_embd.weight"], tensors["output.weight"]
    e = gguf.quants.dequantize(embedding.data, embedding.tensor_type).astype(np.float32)
    w = gguf.quants.dequantize(output.data, output.tensor_type).astype(np.float32)
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    w /= np.linalg.norm(w, axis=1, keepdims=True)
    rng = np.random.default_rng(7)
    order = rng.permutation(np.arange(N_SPECIAL_TOKENS, len(e)))
    w[order] += PREFERENCE * e[np.roll(order, 1)]
    # The embedding as large as what the layers add to it, or the token would be lost behind them.
    embedding.data[:] = gguf.quants.quantize(e * e.shape[1] ** 0.5, embedding.tensor_type).reshape(embedding.data.shape)
    output.data[:] = gguf.quants.quantize(w, output.tensor_type).reshape(output.data.shape)
    reader.data.flush()


def make(path, kind, sparsity, *more):
    """Makes the model unless it is there."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    subprocess.run([sys.executable, MAKE_MODEL, partial, "--type", kind, "--sparsity", str(sparsity), "--force", *more],
                   check=True, capture_output=True, text=True)
    add_preference(partial)
    partial.rename(path)
    return path


def tie(source, path):
    """The same model without its output matrix: the host then uses the token embedding for it."""
    if path.exists():
        return path
    reader = gguf.GGUFReader(source)
    partial = path.with_suffix(".partial")
    writer = gguf.GGUFWriter(partial, reader.get_field("general.architecture").contents())
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        inner = field.types[1] if len(field.types) > 1 else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=inner)
    for tensor in reader.tensors:
        if tensor.name != "output.weight":
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.rename(path)
    return path


def quantize(host, source, path, kind):
    """Lets the host's llama-quantize make the model from a BF16 one, unless it is there."""
    if not path.exists():
        partial = path.with_suffix(".partial")
        *options, target = QUANTIZER[kind.upper()]
        host.must_run("llama-quantize", *options, source, partial, target, 2, plugin=False)
        partial.rename(path)
    return path


def write_text(path):
    """Some thousand tokens of text that means nothing."""
    if not path.exists():
        rng = np.random.default_rng(11)
        letters = np.array(list("etaoinshrdlu"))
        words = ["".join(rng.choice(letters, rng.integers(2, 9))) for _ in range(4000)]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(" ".join(words) + "\n")
    return path
