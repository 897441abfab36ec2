"""Which weights are taken, read from the host's own log, and that its tools run with them."""

import json
import re
import shutil
import subprocess

import gguf
import pytest

from conftest import our_lines

PAGE = 4096
LEFT = ("token_embd", "_norm", "ffn_gate_inp")


def expected_mib(path, wanted=lambda name: True):
    """What the host must report for our buffer: the taken weights, each in whole pages."""
    total = 0
    for tensor in gguf.GGUFReader(path).tensors:
        if not any(part in tensor.name for part in LEFT) and wanted(tensor.name):
            total += -(-int(tensor.n_bytes) // PAGE) * PAGE
    return total / 2**20


def reported_mib(log):
    """Size of our buffer in the host's log, 0 if it has none."""
    sizes = re.findall(r"SPARAMX model buffer size = +([0-9.]+) MiB", log)
    return sum(map(float, sizes))


@pytest.mark.parametrize("kind", ["bf16", "f16", "q8_0"])
@pytest.mark.parametrize("sparsity", [0.0, 0.5])
def test_simple_places_every_matrix(host, model, kind, sparsity):
    path = model(kind, sparsity)
    result = host.must_run("llama-simple", "-m", path, "-n", 8, "some words")
    assert reported_mib(result.stderr) == pytest.approx(expected_mib(path), abs=0.006)
    loaded, took = our_lines(result.stderr)
    assert "loaded, with" in loaded and "took 15 matrices" in took


@pytest.mark.parametrize("kind", ["bf16", "q8_0"])
def test_bench_runs(host, model, kind):
    path = model(kind)
    result = host.must_run("llama-bench", "-m", path, "-p", 64, "-n", 8, "-t", 2, "-r", 1, "-o", "json", "-v")
    rows = json.loads(result.stdout)
    assert [(row["n_prompt"], row["n_gen"]) for row in rows] == [(64, 0), (0, 8)]
    # Of one model, loaded once or more.
    sizes = set(re.findall(r"SPARAMX model buffer size = +([0-9.]+) MiB", result.stderr))
    assert len(sizes) == 1 and float(sizes.pop()) == pytest.approx(expected_mib(path), abs=0.006)


def test_perplexity_runs(host, model, text):
    path = model("bf16")
    result = host.must_run("llama-perplexity", "-m", path, "-f", text, "-c", 128, "--chunks", 2, "-t", 2, "-v")
    assert reported_mib(result.stderr + result.stdout) == pytest.approx(expected_mib(path), abs=0.006)


def test_no_extra_graph_splits(host, model):
    result = host.must_run("llama-simple", "-m", model("bf16"), "-n", 2, "word")
    assert re.search(r"splits = 1\b", result.stderr)


@pytest.mark.parametrize("variables, wanted", [
    ({"SPARAMX_TAKE": "ffn_"}, lambda name: "ffn_" in name),
    ({"SPARAMX_LEAVE": "^blk.0."}, lambda name: "blk.0." not in name),
    ({"SPARAMX_TAKE": "ffn_,attn_q", "SPARAMX_LEAVE": "up|down"}, lambda name: re.search("ffn_gate|attn_q", name)),
    ({"SPARAMX_TAKE": "^output.weight$,blk.?.attn*t$"}, lambda name: re.search("^output.weight|attn_", name)),
    ({"SPARAMX_TAKE": "token_embd,_norm"}, lambda name: False),
    ({"SPARAMX_TAKE": "", "SPARAMX_LEAVE": ""}, lambda name: True),
    ({"SPARAMX_MODE": "off"}, lambda name: False),
])
def test_patterns(linked, model, variables, wanted):
    path = model("bf16")
    result = linked.must_run("llama-simple", "-m", path, "-n", 8, "some words", **variables)
    assert reported_mib(result.stderr) == pytest.approx(expected_mib(path, wanted), abs=0.006)


def test_library_beside_the_plugin(linked, model, tmp_path):
    """Where it is after an installation: no variable names it. Also when a link in another folder names the plugin."""
    shutil.copy(linked.plugin, tmp_path)
    (tmp_path / "libsparamx.so.0").symlink_to(linked.library)
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / linked.plugin.name
    link.symlink_to(tmp_path / linked.plugin.name)
    for file in (tmp_path / linked.plugin.name, link):
        result = linked.must_run("llama-simple", "-m", model("bf16"), "-n", 2, "word", plugin=file, SPARAMX_LIB=None)
        assert reported_mib(result.stderr) > 0


def test_device_takes_the_same(host, model):
    path = model("bf16")
    result = host.must_run("host_checks", "generate", path, 4, 2, 2, "none", SPARAMX_MODE="accel")
    # Address space; the pages of weights stay untouched.
    assert reported_mib(result.stderr) == pytest.approx(expected_mib(path), abs=0.006)


def test_repack_off_keeps_weights(linked, model, text):
    """--no-repack forbids extra buffer types: the host's switch is honoured."""
    result = linked.must_run("llama-perplexity", "-m", model("bf16"), "-f", text, "-c", 128, "--chunks", 1,
                             "--no-repack", "-v")
    assert reported_mib(result.stderr + result.stdout) == 0


def test_plugin_links_to_nothing_of_ggml(linked):
    symbols = subprocess.run(["nm", "-D", linked.plugin], capture_output=True, text=True, check=True).stdout
    assert not re.findall(r" U .*ggml.*", symbols)
    assert sorted(re.findall(r" [A-TV-Z] (\S+)$", symbols, flags=re.M)) == ["ggml_backend_init", "ggml_backend_score"]
