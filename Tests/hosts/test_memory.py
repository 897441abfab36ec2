"""The weights take the packed bytes and at most 5% more of the host's memory, however it is measured."""

import os
import re
import subprocess

import gguf
import pytest

import build_host
from conftest import explain, make_model
from test_placement import LEFT, expected_mib

KIB = 1024
MOST = 1.05
WIDE = ("--embd", "1024", "--ff", "4096", "--heads", "16", "--kv-heads", "16")
MIXTURE = ("--embd", "512", "--experts", "8", "--experts-used", "2")
# Bits per weight of a half pruned matrix, bitmap and scales included: what the packed size itself is held to.
BITS = {"BF16": 9, "F16": 9, "Q8_0": 5.5, "Q4_0": 3.5, "Q4_K": 3.75, "Q6_K": 4.75}
KINDS = ("bf16", "f16", "q8_0", "q4_0", "q5_1", "q4_k_m", "q6_k", "q2_k", "iq4_xs", "mxfp4")


def packed_bytes(programs, path):
    """What the library says it keeps of the weights that it takes."""
    taken = [tensor for tensor in explain(programs, path)["tensors"] if tensor["taken"]]
    for tensor in taken:
        if tensor["form"] == "sparse" and tensor["type"] in BITS:
            assert tensor["bits_per_weight"] < BITS[tensor["type"]] * 1.02, tensor
    return sum(tensor["bytes"] for tensor in taken)


@pytest.mark.parametrize("mode", ["inject", "accel"])
@pytest.mark.parametrize("shape", [WIDE, MIXTURE], ids=["dense", "experts"])
@pytest.mark.parametrize("kind", KINDS)
def test_memory_of_weights(linked, programs, kind, shape, mode):
    """Anonymous memory of the loaded model, from the page tables, against the model in the host's mapped file."""
    path = make_model(linked, "memory-" + ("moe" if shape is MIXTURE else "wide"), kind, 0.5, *shape)
    packed = packed_bytes(programs, path)
    plain = int(linked.must_run("host_checks", "resident", path, "mmap", "plain", plugin=False).stdout)
    ours = int(linked.must_run("host_checks", "resident", path, "mmap", SPARAMX_MODE=mode).stdout)
    taken = (ours - plain) * KIB
    print(f"{path.stem} {mode}: {taken / 2**20:.2f} MiB for {packed / 2**20:.2f} MiB of packed weights: "
          f"{taken / packed:.4f}")
    assert 0.99 * packed < taken < MOST * packed


@pytest.mark.parametrize("kind", ["bf16", "q8_0", "q4_k_m"])
def test_statistics_tell_it(linked, programs, kind):
    """SPARAMX_STATS, from which examples/llama.cpp/bench.py takes its column."""
    path = make_model(linked, "memory-wide", kind, 0.5, *WIDE)
    log = linked.must_run("host_checks", "generate", path, 4, 2, 2, "mmap", SPARAMX_STATS=1).stderr
    told = re.search(r"sparamx: weights of (\d+) bytes, packed (\d+), resident (\d+)", log)
    uploaded, packed, resident = map(int, told.groups())
    print(f"{kind}: {uploaded} bytes, packed {packed}, resident {resident}")
    assert packed == packed_bytes(programs, path)
    assert packed < resident < MOST * packed
    assert uploaded == expected_mib(path) * 2**20


def at_most_resident(host, path, load_mode, **options):
    """Of a llama-completion that loads the model and answers with a token, in bytes."""
    build_host.add_tools(host.kind, ["llama-completion"])
    command, environment = host.command("llama-completion", "-m", path, "-lm", load_mode, "-n", 1, "--temp", 0,
                                        "-no-cnv", "-p", "a", "-t", 2, "-c", 512, "--no-warmup", **options)
    process = subprocess.Popen(list(map(str, command)), env=environment, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * KIB


@pytest.mark.parametrize("mode", ["inject", "accel"])
@pytest.mark.parametrize("kind", ["bf16", "q8_0"])
def test_peak_while_loading(linked, programs, kind, mode):
    """Without a mapping: the packed weights and one of them as it comes. A mapping is all there before the plugin sees
    its first weight, so with one the peak is the file, as without the plugin, and never both."""
    path = make_model(linked, "memory-wide", kind, 0.5, *WIDE)
    packed = packed_bytes(programs, path)
    sizes = [int(tensor.n_bytes) for tensor in gguf.GGUFReader(path).tensors if not any(n in tensor.name for n in LEFT)]
    library = 6 * 2**20  # its own pages, and what it packs with
    plain = {how: at_most_resident(linked, path, how, plugin=False) for how in ("none", "mmap")}
    ours = {how: at_most_resident(linked, path, how, SPARAMX_MODE=mode) for how in ("none", "mmap")}
    rest = plain["none"] - sum(sizes)
    print(f"{path.stem} {mode}: without a mapping {ours['none'] / 2**20:.1f} MiB, llama.cpp alone "
          f"{plain['none'] / 2**20:.1f}; mapped {ours['mmap'] / 2**20:.1f}, alone {plain['mmap'] / 2**20:.1f}")
    assert ours["none"] < rest + packed + max(sizes) + library
    assert ours["mmap"] < plain["mmap"] + library
    assert ours["none"] < ours["mmap"] + library
