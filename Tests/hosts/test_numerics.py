"""The same answers as the host's own kernels, within the host's own noise."""

import re

import pytest

import build_host
from test_placement import expected_mib, reported_mib

CONTEXT, CHUNKS = 256, 8
# The demands on the library. With BF16 and F16 it sums in another order than the host; with quantized types it also
# rounds activations otherwise: for K types and IQ4_XS the host takes blocks of 256 of them, the library of 32.
# Measured with AVX2: BF16 2e-6, F16 and MXFP4 0, Q8_0 1e-5, Q4_0 and IQ4_NL 3e-5 (mixtures of experts 6e-5), of which
# nothing is left without their output matrix, a Q6_K; K types 7e-5 (1.2e-4). The host from itself, Q8_0 and 8 tokens at
# a time instead of all: 3e-5.
KINDS = ("bf16", "f16", "q8_0", "q4_0", "q4_k_m", "q5_k_m", "q6_k", "q2_k", "iq4_nl", "mxfp4")
MAX_KLD = {"bf16": 1e-5, "f16": 1e-5, "mxfp4": 6e-5, "q8_0": 6e-5, "q4_0": 1e-4, "iq4_nl": 1e-4, "q4_k_m": 2e-4,
           "q5_k_m": 2e-4, "q6_k": 2e-4, "q2_k": 2e-4}
# With AMX and many tokens, weights are rounded to bf16.
MAX_KLD_AMX = {kind: 1e-5 if kind in ("bf16", "f16") else 1e-3 for kind in KINDS}
SAME_TOP = 99.0


def most(kind, amx=False):
    """The largest divergence that is allowed."""
    return (MAX_KLD_AMX if amx or "amx_bf16" in build_host.cpu_flags() else MAX_KLD)[kind]


def divergence(run, mib):
    """Mean KLD and share of equal top tokens, with so many MiB of weights in the library. A run that lost
    the end of its log (see linger.c) is repeated."""
    for _ in range(6):
        result = run()
        log = result.stdout + result.stderr
        assert reported_mib(log) == pytest.approx(mib, abs=0.006)
        mean, same = re.search(r"Mean +KLD: +(-?[0-9.]+)", log), re.search(r"Same top p: +([0-9.]+)", log)
        if mean and same:
            return float(mean[1]), float(same[1])
    raise AssertionError("llama-perplexity never printed its statistics: " + log[-2000:])


@pytest.fixture(scope="module")
def base(tmp_path_factory, text):
    """base(host, path): the host's own logits."""
    made = {}

    def make(host, path):
        key = (host.kind, path)
        if key not in made:
            file = tmp_path_factory.mktemp("logits") / "base.kld"
            host.must_run("llama-perplexity", "-m", path, "-f", text, "-c", CONTEXT, "--chunks", CHUNKS, "-t", 2,
                          "--save-all-logits", file, plugin=False)
            made[key] = file
        return made[key]
    return make


@pytest.mark.parametrize("mode", ["inject", "accel"])
@pytest.mark.parametrize("sparsity", [0.0, 0.5])
@pytest.mark.parametrize("kind", KINDS)
def test_divergence(host, model, text, base, kind, sparsity, mode):
    path = model(kind, sparsity)
    logits = base(host, path)
    mean, same_top = divergence(lambda: host.must_run(
        "llama-perplexity", "-m", path, "-f", text, "-c", CONTEXT, "-t", 2, "--kl-divergence",
        "--kl-divergence-base", logits, "-v", SPARAMX_MODE=mode), expected_mib(path))
    print(f"{host.kind} {kind} {sparsity} {mode}: mean KLD {mean}, same top {same_top}%")
    assert abs(mean) < most(kind)
    assert same_top >= SAME_TOP


def first_difference(a, b):
    for i, (x, y) in enumerate(zip(a, b)):
        if x != y:
            return f"token {i}: {x} without the library, {y} with it"
    return f"{len(a)} tokens without the library, {len(b)} with it"


@pytest.mark.parametrize("sparsity", [0.0, 0.5])
def test_greedy_text_of_bf16(host, model, sparsity):
    path = model("bf16", sparsity)
    plain = host.must_run("llama-simple", "-m", path, "-n", 200, "a few words to begin with", plugin=False)
    ours = host.must_run("llama-simple", "-m", path, "-n", 200, "a few words to begin with")
    assert len(plain.stdout) > 400
    assert ours.stdout == plain.stdout


@pytest.mark.parametrize("mode", ["none", "mmap"])
@pytest.mark.parametrize("threads", [(1, 1), (2, 2), (4, 4), (1, 4), (4, 2)])
def test_threads_and_mmap(host, model, threads, mode):
    """Different numbers of threads for generation and prompt, with and without mmap: the same tokens."""
    path = model("bf16")
    plain = host.must_run("host_checks", "generate", path, 200, 2, 2, "mmap", plugin=False).stdout.split()
    ours = host.must_run("host_checks", "generate", path, 200, *threads, mode).stdout.split()
    assert len(plain) == 200
    assert ours == plain, first_difference(plain, ours)


@pytest.mark.parametrize("mode", ["inject", "accel"])
@pytest.mark.parametrize("kind", KINDS)
def test_result_does_not_depend_on_threads(linked, model, kind, mode):
    path = model(kind)
    texts = {linked.must_run("host_checks", "generate", path, 60, n, n, "auto", SPARAMX_MODE=mode).stdout
             for n in (1, 2, 4)}
    assert len(texts) == 1


@pytest.mark.parametrize("mode", ["inject", "accel"])
def test_two_contexts_at_once(host, model, mode):
    path = model("bf16")
    plain = host.must_run("host_checks", "contexts", path, 100, plugin=False).stdout
    ours = host.must_run("host_checks", "contexts", path, 100, SPARAMX_MODE=mode).stdout
    assert len(plain.splitlines()) == 2
    assert ours == plain
