#!/usr/bin/env python3
"""Writes a pruned, llama-shaped GGUF model with random weights: something to run the examples on.

The weights are normally distributed and pruned by magnitude, so that every row of a matrix has the same share of
zeros. The token embedding and the output matrix stay whole unless --prune-output is given: that is how Wanda and
SparseGPT leave them, and it shows what the library does with a matrix that has no zeros. The text such a model writes
is noise, but any program that loads llama models can load it.

The K types and IQ4 are made by llama.cpp's own quantizer: --llama-quantize names it. As it does for every model, it
gives some matrices (the output, a part of the others in the mixtures _s, _m, _l) another type than the one asked for.

Needs the PyPI packages gguf, numpy and tqdm.
"""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

try:
    import gguf
    import numpy as np
    from tqdm import tqdm
except ImportError as error:
    sys.exit(f"make_model.py: the Python package {error.name} is missing: pip install gguf numpy tqdm")

PRESETS = {
    #         layers, embd,   ff, heads, kv heads, vocab
    "tiny": (2, 256, 704, 8, 4, 512),
    "small": (4, 2048, 5632, 32, 32, 4096),
    "1b": (22, 2048, 5632, 32, 4, 32000),
}
TYPES = ("bf16", "f16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "mxfp4")  # what gguf quantizes and the library may know
HOST_TYPES = ("q2_k", "q3_k_s", "q3_k_m", "q3_k_l", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k", "iq4_nl", "iq4_xs")
BLOCK = 32  # of Q8_0 and its kin; every row length is a multiple of it in every type
N_BYTE_TOKENS = 256
N_SPECIAL_TOKENS = 3
ROUTER_GAIN = 4
CHUNK = 1 << 22  # weights that one thread generates at a time: what bounds the memory, not the size of a matrix
SLICE = 1 << 18  # weights that it quantizes at a time: gguf's MXFP4 takes 128 bytes for each


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("output", type=Path, metavar="OUT.gguf")
    parser.add_argument("--preset", choices=PRESETS, default="small", help="sizes to start from (default: small)")
    parser.add_argument("--type", choices=TYPES + HOST_TYPES, default="bf16", metavar="TYPE",
                        help=f"type of the matrices: {', '.join(TYPES)}; with --llama-quantize {', '.join(HOST_TYPES)} "
                             "(default: bf16)")
    parser.add_argument("--llama-quantize", type=Path, metavar="PROGRAM",
                        help="llama.cpp's quantizer: makes the type from a BF16 model")
    parser.add_argument("--sparsity", type=float, default=0.5, help="share of zeros per row, 0 to 0.99 (default: 0.5)")
    parser.add_argument("--prune-output", action="store_true", help="prune the output matrix as well")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--embd", type=int, help="width of the model")
    parser.add_argument("--ff", type=int, help="width of the feed-forward part")
    parser.add_argument("--heads", type=int)
    parser.add_argument("--kv-heads", type=int)
    parser.add_argument("--vocab", type=int)
    parser.add_argument("--experts", type=int, default=0, help="a mixture of this many experts (default: none)")
    parser.add_argument("--experts-used", type=int, default=2, help="of them per token (default: 2)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--force", action="store_true", help="replace OUT.gguf if it exists")
    args = parser.parse_args()
    names = ("layers", "embd", "ff", "heads", "kv_heads", "vocab")
    for name, value in zip(names, PRESETS[args.preset]):
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args


def find_fault(a):
    """One sentence about the first argument that cannot be used, or None."""
    smallest_vocab = N_SPECIAL_TOKENS + N_BYTE_TOKENS + 1
    if a.type in HOST_TYPES and a.llama_quantize is None:
        return f"{a.type} needs llama.cpp's quantizer: --llama-quantize names the program"
    if a.llama_quantize is not None and a.type in ("bf16", "f16", "mxfp4"):
        return f"{a.type} is made without --llama-quantize"
    if a.llama_quantize is not None and not os.access(a.llama_quantize, os.X_OK):
        return f"{a.llama_quantize} is no program that can be run"
    if not 0 <= a.sparsity <= 0.99:
        return f"--sparsity must be from 0 to 0.99, not {a.sparsity}"
    if not 1 <= a.layers <= 1000:
        return f"--layers must be from 1 to 1000, not {a.layers}"
    for option, value in (("--embd", a.embd), ("--ff", a.ff)):
        if not BLOCK <= value <= 1 << 18 or value % BLOCK != 0:
            return f"{option} must be a multiple of {BLOCK} up to {1 << 18}, not {value}"
    if a.heads < 1 or a.embd % a.heads != 0 or a.embd // a.heads % 2 != 0:
        return f"--heads must divide --embd into heads of even width, {a.heads} does not"
    if a.kv_heads < 1 or a.heads % a.kv_heads != 0:
        return f"--kv-heads must divide --heads, {a.kv_heads} does not"
    if a.embd // a.heads * a.kv_heads % BLOCK != 0:
        return f"--kv-heads gives key and value matrices whose width is no multiple of {BLOCK}"
    if not smallest_vocab <= a.vocab <= 1 << 20:
        return f"--vocab must be from {smallest_vocab} to {1 << 20}, not {a.vocab}"
    if a.experts != 0 and not (2 <= a.experts <= 1024 and 1 <= a.experts_used <= a.experts):
        return f"--experts must be from 2 to 1024 and --experts-used at most that, not {a.experts} and {a.experts_used}"
    if a.seed < 0:
        return f"--seed must not be negative, {a.seed} is"
    if a.output.exists() and not a.force:
        return f"{a.output} exists already: --force replaces it"
    if not a.output.parent.is_dir():
        return f"the folder {a.output.parent} does not exist"
    return None


def list_tensors(a):
    """(name, rows, columns, kind) in the order of the file; kind is norm, embedding, output, router, matrix or
    residual. The rows of experts' matrices follow each other."""
    kv = a.embd // a.heads * a.kv_heads
    yield "token_embd.weight", a.vocab, a.embd, "embedding"
    for i in range(a.layers):
        yield f"blk.{i}.attn_norm.weight", 1, a.embd, "norm"
        yield f"blk.{i}.attn_q.weight", a.embd, a.embd, "matrix"
        yield f"blk.{i}.attn_k.weight", kv, a.embd, "matrix"
        yield f"blk.{i}.attn_v.weight", kv, a.embd, "matrix"
        yield f"blk.{i}.attn_output.weight", a.embd, a.embd, "residual"
        yield f"blk.{i}.ffn_norm.weight", 1, a.embd, "norm"
        if a.experts:
            yield f"blk.{i}.ffn_gate_inp.weight", a.experts, a.embd, "router"
        suffix, n = ("_exps", a.experts) if a.experts else ("", 1)
        yield f"blk.{i}.ffn_gate{suffix}.weight", n * a.ff, a.embd, "matrix"
        yield f"blk.{i}.ffn_up{suffix}.weight", n * a.ff, a.embd, "matrix"
        yield f"blk.{i}.ffn_down{suffix}.weight", n * a.embd, a.ff, "residual"
    yield "output_norm.weight", 1, a.embd, "norm"
    yield "output.weight", a.vocab, a.embd, "output"


def make_rows(rng, rows, columns, deviation, sparsity):
    """Normally distributed rows; of each the given share with the smallest magnitude is exactly zero."""
    w = rng.standard_normal((rows, columns), dtype=np.float32)
    w *= np.float32(deviation)
    n_zeros = int(sparsity * columns)
    if n_zeros > 0:
        smallest = np.argpartition(np.abs(w), n_zeros - 1, axis=1)[:, :n_zeros]
        np.put_along_axis(w, smallest, np.float32(0), axis=1)
    return w


def make_matrix(pool, a, index, rows, columns, kind, raw_type):
    """The matrix in the type's own layout, as bytes. Equal for any number of threads: each chunk has its own seed."""
    # Unit gain per product, and residual branches that add up to about one: activations neither grow nor vanish.
    deviation = columns**-0.5 / ((2 * a.layers) ** 0.5 if kind == "residual" else 1)
    pruned = kind in ("matrix", "residual") or (kind == "output" and a.prune_output)
    step = max(1, CHUNK // columns)
    block, block_bytes = gguf.GGML_QUANT_SIZES[raw_type]
    out = np.empty((rows, columns // block * block_bytes), dtype=np.uint8)

    def fill(begin):
        end = min(begin + step, rows)
        rng = np.random.default_rng([a.seed, index, begin // step])
        w = make_rows(rng, end - begin, columns, deviation, a.sparsity if pruned else 0)
        part = max(1, SLICE // columns)
        for at in range(0, end - begin, part):
            out[begin + at:min(begin + at + part, end)] = gguf.quantize(w[at:at + part], raw_type).view(np.uint8)

    list(pool.map(fill, range(0, rows, step)))
    return out


def written_type(a):
    """The type that this program writes: what the host's quantizer starts from, if there is one."""
    return "bf16" if a.llama_quantize else a.type


def make_router(a, index, rows, columns):
    """In single precision, as routers are. Decided: a choice between equal experts would hang on rounding."""
    rng = np.random.default_rng([a.seed, index])
    return rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(ROUTER_GAIN * columns**-0.5)


def add_metadata(writer, a):
    kind = written_type(a)
    file_type = gguf.LlamaFileType["MOSTLY_MXFP4_MOE" if kind == "mxfp4" else f"MOSTLY_{kind.upper()}"]
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(f"random llama, {a.sparsity:.0%} zeros")
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(2048)
    writer.add_embedding_length(a.embd)
    writer.add_block_count(a.layers)
    writer.add_feed_forward_length(a.ff)
    if a.experts:
        writer.add_expert_count(a.experts)
        writer.add_expert_used_count(a.experts_used)
    writer.add_head_count(a.heads)
    writer.add_head_count_kv(a.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(a.embd // a.heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(a.vocab)


def add_tokenizer(writer, vocab):
    """A vocabulary that can spell every text byte by byte; the rest are made-up words."""
    kinds = gguf.TokenType
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(N_BYTE_TOKENS)]
    types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL] + [kinds.BYTE] * N_BYTE_TOKENS
    n_words = vocab - len(tokens)
    scores = [0.0] * len(tokens) + [-float(i + 1) for i in range(n_words)]
    tokens += [f"\u2581w{i}" for i in range(n_words)]
    types += [kinds.NORMAL] * n_words
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def declare_tensors(writer, a, raw_type):
    for name, rows, columns, kind in list_tensors(a):
        if kind == "norm":
            writer.add_tensor_info(name, (columns,), np.dtype(np.float32), 4 * columns)
            continue
        if kind == "router":
            writer.add_tensor_info(name, (rows, columns), np.dtype(np.float32), 4 * rows * columns)
            continue
        block, block_bytes = gguf.GGML_QUANT_SIZES[raw_type]
        shape = (rows, columns // block * block_bytes)
        nbytes = shape[0] * shape[1]
        if "_exps" in name:
            shape = (a.experts, rows // a.experts, shape[1])
        writer.add_tensor_info(name, shape, np.dtype(np.uint8), nbytes, raw_type)


def write_tensors(writer, a, raw_type):
    """One matrix in memory at a time."""
    tensors = list(list_tensors(a))
    total = sum(rows * columns for _, rows, columns, _ in tensors)
    with ThreadPoolExecutor(os.cpu_count()) as pool, tqdm(
        total=total, unit=" weights", unit_scale=True, desc=a.output.name, disable=not sys.stderr.isatty()
    ) as bar:
        for index, (_, rows, columns, kind) in enumerate(tensors):
            if kind == "norm":
                writer.write_tensor_data(np.ones(columns, dtype=np.float32))
            elif kind == "router":
                writer.write_tensor_data(make_router(a, index, rows, columns))
            else:
                writer.write_tensor_data(make_matrix(pool, a, index, rows, columns, kind, raw_type))
            bar.update(rows * columns)


def write_model(a, path):
    raw_type = gguf.GGMLQuantizationType[written_type(a).upper()]
    writer = gguf.GGUFWriter(path, "llama")
    add_metadata(writer, a)
    add_tokenizer(writer, a.vocab)
    declare_tensors(writer, a, raw_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    write_tensors(writer, a, raw_type)
    writer.close()


def quantize(a, path):
    """Lets the host's quantizer make the type, in place."""
    whole = path.with_name(path.name + ".bf16")
    path.replace(whole)
    try:
        command = [a.llama_quantize.resolve(), whole, path, a.type.upper(), str(os.cpu_count())]
        result = subprocess.run(command, capture_output=True, text=True, errors="replace")
    finally:
        whole.unlink(missing_ok=True)
    if result.returncode != 0:
        sys.exit(f"make_model.py: {a.llama_quantize} ended with status {result.returncode}: {result.stderr[-600:]}")


def main():
    a = parse_arguments()
    fault = find_fault(a)
    if fault is not None:
        sys.exit(f"make_model.py: {fault}.")
    # Written under another name first: what has the final name is complete.
    part = a.output.with_name(a.output.name + ".part")
    try:
        write_model(a, part)
        if a.llama_quantize:
            quantize(a, part)
        part.replace(a.output)
    except OSError as error:
        sys.exit(f"make_model.py: {part} cannot be written: {error.strerror}.")
    finally:
        part.unlink(missing_ok=True)
    print(f"{a.output}: {a.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
