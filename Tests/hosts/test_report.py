"""The line after a model is loaded, tied output matrices, and the mapped file's memory."""

import os
import re
import subprocess

import gguf
import pytest

import models
from conftest import WORK, clean_environment, explain, make_model, our_lines, reference
from test_memory import WIDE
from test_placement import expected_mib, reported_mib

TOOK = re.compile(r"took (\d+) matri(?:x|ces), ([0-9.]+) MB packed to ([0-9.]+) MB, (\d+) of them sparse")
LEFT = re.compile(r"(\d+) matri(?:x|ces) left to the host, ([0-9.]+) MB or (\d+)% of the bytes per token: "
                  r"(\S+) \((.+)\)")


@pytest.fixture(scope="module")
def tied(model):
    return models.tie(model("bf16"), WORK / "models" / "tied-bf16-50.gguf")


def generate(host, path, **options):
    return host.must_run("llama-simple", "-m", path, "-n", 12, "some words", **options)


@pytest.mark.parametrize("mode", ["inject", "accel"])
@pytest.mark.parametrize("kind", ["bf16", "q8_0"])
def test_line_says_what_explain_says(host, model, programs, kind, mode):
    path = model(kind)
    taken = [tensor for tensor in explain(programs, path)["tensors"] if tensor["taken"]]
    lines = our_lines(generate(host, path, SPARAMX_MODE=mode).stderr)
    assert len(lines) == 2
    matrices, before, after, sparse = map(float, TOOK.search(lines[1]).groups())
    sizes = {t.name: int(t.n_bytes) for t in gguf.GGUFReader(path).tensors}
    assert matrices == len(taken) and sparse == sum(tensor["form"] == "sparse" for tensor in taken)
    assert before == pytest.approx(sum(sizes[tensor["tensor"]] for tensor in taken) / 1e6, abs=0.051)
    assert after == pytest.approx(sum(tensor["bytes"] for tensor in taken) / 1e6, abs=0.051)
    assert not LEFT.search(lines[1])


def test_line_says_what_was_left(linked, model):
    line = our_lines(generate(linked, model("bf16"), SPARAMX_LEAVE="^output.weight$").stderr)[1]
    count, size, share, name, why = LEFT.search(line).groups()
    after = float(TOOK.search(line)[3])
    left = next(int(t.n_bytes) for t in gguf.GGUFReader(model("bf16")).tensors if t.name == "output.weight") / 1e6
    assert (count, name) == ("1", "output.weight") and "SPARAMX_LEAVE" in why
    assert float(size) == pytest.approx(left, abs=0.051)
    assert int(share) == pytest.approx(100 * left / (left + after), abs=2)


@pytest.mark.parametrize("mode", ["inject", "accel"])
def test_nothing_taken(linked, model, mode):
    lines = our_lines(generate(linked, model("bf16"), SPARAMX_MODE=mode, SPARAMX_TAKE="no such name").stderr)
    assert len(lines) == 2 and "nothing taken: 15 matrices left" in lines[1] and "100% of the bytes" in lines[1]
    assert "SPARAMX_TAKE does not name it" in lines[1]


def test_nothing_asked(linked, model, text):
    log = linked.must_run("llama-perplexity", "-m", model("bf16"), "-f", text, "-c", 128, "--chunks", 1,
                          "--no-repack").stderr
    assert any("nothing taken: the host put " in line and "--no-repack" in line for line in our_lines(log)), log


@pytest.mark.parametrize("mode", ["inject", "accel"])
def test_tied_output_matrix(host, tied, mode):
    """The copy that the host loads for the output is taken, and the text stays the same."""
    embedding = next(int(t.n_bytes) for t in gguf.GGUFReader(tied).tensors if t.name == "token_embd.weight") / 2**20
    plain = generate(host, tied, plugin=False)
    ours = generate(host, tied, SPARAMX_MODE=mode)
    assert reported_mib(ours.stderr) == pytest.approx(expected_mib(tied) + embedding, abs=0.02)
    assert ours.stdout == plain.stdout
    kept = generate(host, tied, SPARAMX_MODE=mode, SPARAMX_TIED="leave")
    assert reported_mib(kept.stderr) == pytest.approx(expected_mib(tied), abs=0.006)
    assert kept.stdout == plain.stdout
    assert "token_embd.weight (SPARAMX_TIED says so)" in our_lines(kept.stderr)[1]


def most_resident(command, environment):
    """The largest resident size of a process, in bytes."""
    process = subprocess.Popen([str(part) for part in command], env=environment, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024


@pytest.mark.parametrize("mode", ["inject", "accel"])
def test_pages_of_the_file_are_given_back(linked, programs, mode):
    """The most that a process holds is not the mapped file and the packed weights together."""
    path = make_model(linked, "memory-wide", "bf16", 0.5, *WIDE)
    packed = sum(tensor["bytes"] for tensor in explain(programs, path)["tensors"] if tensor["taken"])
    command = [linked.made / "host_checks", "resident", path, "mmap"]
    plain = most_resident([*command, "plain"], clean_environment(HOST_CHECKS_BACKENDS=linked.bin))
    ours = most_resident(command, clean_environment(
        HOST_CHECKS_BACKENDS=linked.bin, GGML_BACKEND_PATH=linked.plugin, SPARAMX_LIB=linked.library, SPARAMX_MODE=mode,
        **reference()))
    print(f"{mode}: most resident {plain / 2**20:.1f} MiB of the host, {ours / 2**20:.1f} MiB with "
          f"{packed / 2**20:.1f} MiB packed")
    assert ours < plain + packed / 2
