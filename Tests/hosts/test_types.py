"""Files as people have them: a pruned model, quantized by the host's own llama-quantize to every type.

Some of it needs no library: that the quantizer gives the pruned weights of a block one code, and how far the host's own
kernels lie from products in float32. The library must take every type, read back and be no worse than the host.
"""

import json
import re
import subprocess

import gguf
import numpy as np
import pytest

import models
from conftest import WORK, clean_environment, explain, find_library
from test_numerics import CHUNKS, CONTEXT

PRUNED = 0.5
KINDS = tuple(models.QUANTIZER)
# Weights that share a scale, and with it the code of a pruned weight.
GROUPS = {"Q2_K": 16, "Q3_K": 16, "Q6_K": 16, "NVFP4": 16}
# Ours against the host's own divergence from float32. Measured, mean KLD: the host's 2e-5 (Q8_0, MXFP4), 2.9e-5 (other
# blocks of 32), 4.0e-5 to 4.5e-5 (K types, IQ4_XS: activations in blocks of 256); the library's Q8_0 2e-5.
NO_WORSE, NOISE = 1.15, 5e-6
MOST = 1e-3  # of the host's own: beyond it, what is compared is not the same model


@pytest.fixture(scope="module")
def source():
    """The pruned model that is quantized."""
    return models.make(WORK / "models" / "tiny-k256-bf16-50.gguf", "bf16", PRUNED, "--preset", "tiny",
                       *models.QUANTIZER_ROWS)


@pytest.fixture(scope="module")
def quantized(linked, source):
    return lambda kind: models.quantize(linked, source, WORK / "models" / f"tiny-k256-{kind.lower()}-50.gguf", kind)


@pytest.fixture(scope="module")
def exact(quantized):
    """The quantized model's weights as F32: what its products are without any rounding of activations."""
    def make(kind):
        path = quantized(kind).with_suffix(".f32.gguf")
        if not path.exists():
            partial = path.with_suffix(".partial")
            write_dequantized(quantized(kind), partial)
            partial.rename(path)
        return path
    return make


def write_dequantized(path, out):
    reader = gguf.GGUFReader(path)
    writer = gguf.GGUFWriter(out, "llama")
    for field in reader.fields.values():
        if field.name == gguf.Keys.General.ARCHITECTURE or field.name.startswith("GGUF."):
            continue
        array = field.types[0] == gguf.GGUFValueType.ARRAY
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=field.types[-1] if array else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def pruned_tensors(facts):
    return [t for t in facts["tensors"] if t["tensor"].startswith("blk.") and t["type"] != "F32"]


@pytest.mark.parametrize("kind", KINDS)
def test_quantizer_gives_pruned_weights_one_code(source, quantized, kind):
    """Without any code of ours: in each group all pruned weights get the same value."""
    before = {t.name: t for t in gguf.GGUFReader(source).tensors}
    groups = astray = 0
    for tensor in gguf.GGUFReader(quantized(kind)).tensors:
        if not tensor.name.startswith("blk.") or tensor.tensor_type == gguf.GGMLQuantizationType.F32:
            continue
        size = GROUPS.get(tensor.tensor_type.name, 32)
        w = gguf.quants.dequantize(before[tensor.name].data, before[tensor.name].tensor_type).reshape(-1, size)
        q = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(-1, size)
        pruned = w == 0
        assert abs(pruned.mean() - PRUNED) < 0.01
        high, low = np.where(pruned, q, -np.inf).max(axis=1), np.where(pruned, q, np.inf).min(axis=1)
        groups += len(q)
        astray += int((high > low).sum())
    print(f"{kind}: pruned weights of {astray} of {groups} groups have more than one value")
    assert groups > 10000
    assert astray == 0


@pytest.mark.parametrize("kind", KINDS)
def test_share_at_the_background(programs, quantized, kind):
    """So at least the pruned share of the codes is the background that the sparse form leaves out."""
    facts = explain(programs, quantized(kind))
    tensors = pruned_tensors(facts)
    for name in sorted({t["type"] for t in tensors}):
        shares = [t["sparsity"] for t in tensors if t["type"] == name]
        print(f"{kind}: {name}: {len(shares)} matrices, {min(shares):.4f} to {max(shares):.4f} at the background")
        # Groups that are pruned altogether (one of 65,536 groups of 16) may get another code.
        assert min(shares) > PRUNED - 0.002
    print(f"{kind}: {facts['sentence']}")


@pytest.mark.parametrize("kind", KINDS)
def test_reads_back_and_multiplies(programs, quantized, kind):
    facts = explain(programs, quantized(kind))
    assert all(tensor["taken"] for tensor in pruned_tensors(facts))
    out = WORK / f"run-{kind}.json"
    command = [programs["sparamx-run"], f"--amx={find_library()}", "--m", "1,4,40", "--repeat", "1", "--json", out,
               quantized(kind)]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=clean_environment())
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr
    rows = {row["tensor"]: row for row in json.loads(out.read_text())["rows"]}
    for tensor in pruned_tensors(facts):
        row = rows[tensor["tensor"]]
        assert row["ok"] and row["readback_ok"], row
        assert row["form"] == tensor["form"], row


def statistics(run, ours):
    """Mean KLD. A run whose log was cut short is repeated, as in test_numerics.py."""
    for _ in range(6):
        result = run()
        log = result.stdout + result.stderr
        assert ("SPARAMX model buffer size" in log) == ours
        mean = re.search(r"Mean +KLD: +(-?[0-9.e-]+)", log)
        if mean:
            return abs(float(mean[1]))
    raise AssertionError("llama-perplexity never printed its statistics: " + log[-2000:])


@pytest.mark.parametrize("kind", KINDS)
def test_divergence_from_float32(linked, quantized, exact, text, tmp_path, kind):
    """Ours must be no worse than the host's own, both against float32 products of the same weights."""
    logits = tmp_path / "f32.kld"
    linked.must_run("llama-perplexity", "-m", exact(kind), "-f", text, "-c", CONTEXT, "--chunks", CHUNKS, "-t", 2,
                    "--save-all-logits", logits, plugin=False)

    def diverge(plugin):
        return statistics(lambda: linked.must_run(
            "llama-perplexity", "-m", quantized(kind), "-f", text, "-c", CONTEXT, "-t", 2, "--kl-divergence",
            "--kl-divergence-base", logits, "-v", plugin=plugin), plugin)
    host = diverge(False)
    print(f"{kind}: the host's own kernels: mean KLD {host} from float32")
    assert 0 < host < MOST
    ours = diverge(True)
    print(f"{kind}: the library: mean KLD {ours} from float32")
    assert ours <= NO_WORSE * host + NOISE
