"""Trained weights: the same perplexity and the same text as the host's own kernels, dense and pruned, in four types."""

import json
import subprocess
import sys

import gguf
import numpy as np
import pytest

import accuracy
import build_host
from conftest import ROOT, clean_environment, our_lines
from test_placement import reported_mib

# The library's divergence from the host may be twice what the host has from itself when it uses other kernels of its
# own; a perplexity may differ by three standard errors of such a difference.
NOISE, ERRORS = 2.0, 3.0
SMALLEST = 1e-5  # below, llama-perplexity's six decimals and its float16 logits decide
LEAST_TOP, TOP_NOISE = 0.99, 0.008  # two standard errors of the difference of two shares of 98% of 2,540 tokens
PROMPTS = ("def read(self, size=-1):", "class Queue:")  # not ending in white space, which is the next token's beginning


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("trained")


@pytest.mark.parametrize("kind", accuracy.TYPES)
@pytest.mark.parametrize("share", accuracy.SHARES)
def test_perplexity(linked, folder, share, kind):
    row = accuracy.measure(linked, share, kind, folder)
    print(accuracy.table([row])[-1])
    expected = accuracy.ours_mib(accuracy.quantized(linked, share, kind, folder))
    assert expected > 2 and reported_mib(row.ours.log) == pytest.approx(expected, abs=0.006)
    assert row.ours.kld <= NOISE * max(row.noise.kld, SMALLEST)
    assert row.ours.same_top >= min(LEAST_TOP, row.noise.same_top - TOP_NOISE)
    assert abs(row.ours.ln_ratio) <= ERRORS * max(row.noise.error, SMALLEST)
    # And it is a language model: far better than chance among 2048 tokens.
    assert row.base_ppl < 60


@pytest.mark.parametrize("share", accuracy.SHARES)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_text_of_bf16(host, share, prompt):
    path = accuracy.MODELS / f"trained-{share}.gguf"
    plain = host.must_run("llama-simple", "-m", path, "-n", 200, prompt, plugin=False)
    ours = host.must_run("llama-simple", "-m", path, "-n", 200, prompt)
    assert plain.stdout.startswith(prompt) and len(plain.stdout) > 400
    assert ours.stdout == plain.stdout
    assert not our_lines(plain.stderr) and reported_mib(ours.stderr) > 0


@pytest.mark.parametrize("share", accuracy.SHARES)
def test_zeros_of_the_models(share):
    """What their names say; and quantizing must not be asked of rows that K-quants cannot cut."""
    wanted = 0 if share == "dense" else int(share) / 100
    for tensor in gguf.GGUFReader(accuracy.MODELS / f"trained-{share}.gguf").tensors:
        if tensor.name.startswith("blk.") and len(tensor.shape) == 2:
            zero = np.asarray(tensor.data).view(np.uint16) == 0
            assert np.abs(zero.mean(axis=1) - wanted).max() < 0.01, tensor.name
            assert tensor.shape[0] % 256 == 0


def test_quantizing_keeps_zeros(linked, folder):
    """The host's quantizer gives a pruned weight the code that means zero, in Q8_0 and Q4_0."""
    before = {t.name: t for t in gguf.GGUFReader(accuracy.MODELS / "trained-70.gguf").tensors}
    for kind in ("Q8_0", "Q4_0"):
        for tensor in gguf.GGUFReader(accuracy.quantized(linked, "70", kind, folder)).tensors:
            if tensor.name.startswith("blk.") and len(tensor.shape) == 2:
                zero = np.asarray(before[tensor.name].data).view(np.uint16) == 0
                assert (gguf.dequantize(tensor.data, tensor.tensor_type)[zero] == 0).all(), (kind, tensor.name)


def test_training_is_recorded():
    record = json.loads((accuracy.MODELS / "training.json").read_text())
    assert [phase["name"] for phase in record["phases"]] == ["dense", "50", "70"]
    for phase in record["phases"]:
        fields = gguf.GGUFReader(accuracy.MODELS / f"trained-{phase['name']}.gguf").fields
        for key in ("seed", "steps", "loss"):
            assert fields[f"sparamx.train.{key}"].contents() == str(phase.get(key, record.get(key)))
    sizes = sum(path.stat().st_size for path in accuracy.MODELS.iterdir())
    assert sizes < 40e6


def test_sweep(linked, tmp_path):
    """examples/prune/report.py with a real engine: the more zeros, the further from the dense model."""
    command = [sys.executable, ROOT / "examples/prune/report.py", "--sweep", accuracy.MODELS / "trained-dense.gguf",
               "--text", accuracy.held_out(), "--host", linked.bin, "--shares", "0.5,0.8",
               "--methods", "magnitude,magnitude 2:4", "--chunks", "4", "--threads", "2", "--out", tmp_path]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=clean_environment())
    assert result.returncode == 0, result.stderr
    dense, half, most, pattern = json.loads((tmp_path / "report.json").read_text())["sweep"]
    assert dense["ppl"] < half["ppl"] < most["ppl"]
    assert 0 == dense["kld"] < half["kld"] < pattern["kld"] and half["kld"] < most["kld"]
    assert 1 == dense["same_top"] > half["same_top"] > most["same_top"]
    assert (pattern["share"], most["share"]) == (0.5, 0.8)
    assert all((tmp_path / f"quality.{ending}").stat().st_size > 10000 for ending in ("png", "svg"))


def test_wanda_with_the_hosts_imatrix(linked, tmp_path):
    """llama-imatrix writes two formats; prune.py makes the same of both, and something else without them."""
    build_host.add_tools(linked.kind, ["llama-imatrix"])
    dense = accuracy.MODELS / "trained-dense.gguf"
    found = {}
    for form in ("gguf", "dat", None):
        more = []
        if form:
            file = tmp_path / f"imatrix.{form}"
            linked.must_run("llama-imatrix", "-m", dense, "-f", accuracy.held_out(), "-o", file, "--output-format",
                            form, "-c", 256, "--chunks", 20, "-t", 2, plugin=False)
            more = ["--imatrix", file]
        out = tmp_path / f"{form}.gguf"
        command = [sys.executable, ROOT / "examples/prune/prune.py", dense, out, *(more or ["--magnitude"])]
        subprocess.run([str(part) for part in command], check=True, capture_output=True)
        found[form] = {t.name: t.data.tobytes() for t in gguf.GGUFReader(out).tensors}
    assert found["gguf"] == found["dat"]
    different = {name for name, data in found["gguf"].items() if data != found[None][name]}
    assert len(different) == 42 and all(name.startswith("blk.") for name in different)
