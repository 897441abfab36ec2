"""Small GGUF files to prune, and the command itself."""

import os
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest

PRUNE = Path(__file__).resolve().parents[2] / "examples" / "prune"
sys.path.insert(0, str(PRUNE))
Type = gguf.GGMLQuantizationType


def run(*arguments, asks=False, **options):
    """asks: without the answer to how weights are chosen, where no imatrix is given."""
    command = [sys.executable, PRUNE / "prune.py", *arguments]
    if not {"--imatrix", "--gram"} & set(map(str, arguments)) and not asks:
        command.append("--magnitude")
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, **options)


def prune(*arguments, **options):
    """Must succeed, silently but for its summary."""
    result = run(*arguments, **options)
    assert result.returncode == 0 and result.stderr == "", result.stdout + result.stderr
    return result.stdout


def refused(output, *arguments, **options):
    """Must fail with one sentence, and leave no file behind that was not there. Returns the sentence."""
    folder = Path(output).parent
    before = sorted(os.listdir(folder))
    result = run(*arguments, **options)
    assert result.returncode == 1, (result.returncode, result.stdout, result.stderr)
    assert all(line.startswith("This model has ") for line in result.stdout.splitlines())  # what to expect
    sentence, = result.stderr.splitlines()
    assert sentence.startswith("prune.py: ") and sentence.endswith(".")
    assert sorted(os.listdir(folder)) == before
    return sentence


def weights_of(tensor):
    return np.asarray(gguf.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)


def tensors_of(path):
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


def write_model(path, tensors, kind=Type.BF16, alignment=None, more=lambda writer: None):
    """tensors: {name: float32 array}; one-dimensional ones stay F32."""
    writer = gguf.GGUFWriter(path, "llama")
    if alignment:
        writer.add_custom_alignment(alignment)
    writer.add_block_count(2)
    more(writer)
    for name, values in tensors.items():
        if values.ndim == 1 or kind == Type.F32:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def random_tensors(seed=1, rows=48, columns=256):
    rng = np.random.default_rng(seed)
    scales = {"token_embd": 1, "blk.0.attn_q": 0.5, "blk.0.ffn_up": 2, "blk.1.ffn_down": 1, "output": 1}
    tensors = {f"{name}.weight": rng.standard_normal((rows, columns), dtype=np.float32) * scale
               for name, scale in scales.items()}
    tensors["blk.0.attn_norm.weight"] = rng.standard_normal(columns, dtype=np.float32)
    return tensors


PRUNED = ("blk.0.attn_q.weight", "blk.0.ffn_up.weight", "blk.1.ffn_down.weight")


@pytest.fixture
def model(tmp_path):
    """model(type): the file of a small model."""
    return lambda kind=Type.BF16, **more: write_model(tmp_path / "in.gguf", random_tensors(), kind, **more)
