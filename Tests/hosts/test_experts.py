"""Mixtures of experts: their weights are the library's, and the answers the host's own."""

import re

import pytest

from test_amx import products_counted, tiles  # noqa: F401 (tiles is a fixture)
from test_numerics import CONTEXT, KINDS, SAME_TOP, divergence, first_difference, most
from test_placement import expected_mib

CHUNKS = 4
SHAPES = [(8, 2), (32, 4)]


def compare(host, path, text, logits, kind, **variables):
    """The library's answers with the host's own, which go to the file logits."""
    common = ("llama-perplexity", "-m", path, "-f", text, "-c", CONTEXT, "-t", 2)
    host.must_run(*common, "--chunks", CHUNKS, "--save-all-logits", logits, plugin=False)
    mean, same_top = divergence(lambda: host.must_run(
        *common, "--kl-divergence", "--kl-divergence-base", logits, "-v", **variables),
        expected_mib(path, lambda name: variables.get("SPARAMX_TAKE", "") in name))
    print(f"{host.kind} {path.stem} {variables.get('SPARAMX_MODE', 'with AMX')}: mean KLD {mean}, same top {same_top}%")
    assert abs(mean) < most(kind, amx="SPARAMX_MODE" not in variables)
    assert same_top >= SAME_TOP


@pytest.mark.parametrize("mode", ["inject", "accel"])
@pytest.mark.parametrize("experts, used", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_divergence(host, moe_model, text, tmp_path, kind, experts, used, mode):
    compare(host, moe_model(kind, 0.5, experts, used), text, tmp_path / "base.kld", kind, SPARAMX_MODE=mode)


@pytest.mark.parametrize("kind", ["bf16", "q8_0", "q4_0", "q4_k_m"])
def test_divergence_with_amx(linked, moe_model, text, tmp_path, tiles, kind):  # noqa: F811
    """Of a host whose every other weight is left to it, so that what tiles multiply are experts."""
    compare(linked, moe_model(kind), text, tmp_path / "base.kld", kind, SPARAMX_TAKE="_exps", **tiles)
    assert products_counted(tiles) != 0


@pytest.mark.parametrize("mode", ["inject", "accel"])
def test_experts_are_packed(linked, moe_model, mode):
    """Of a model whose every other weight is left to the host."""
    log = linked.must_run("llama-simple", "-m", moe_model("bf16"), "-n", 4, "a few words", SPARAMX_MODE=mode,
                          SPARAMX_STATS=1, SPARAMX_TAKE="_exps").stderr
    assert re.search(r"SPARAMX model buffer size", log), log
    if mode == "inject":
        # 2 layers of 3 products, for the prompt and each token but the last.
        assert int(re.search(r"sparamx: (\d+) products", log)[1]) == 2 * 3 * 4, log


@pytest.mark.parametrize("threads", [(1, 1), (2, 2), (4, 2)])
@pytest.mark.parametrize("experts, used", SHAPES)
def test_greedy_text_of_bf16(host, moe_model, experts, used, threads):
    path = moe_model("bf16", 0.5, experts, used)
    plain = host.must_run("host_checks", "generate", path, 200, 2, 2, "mmap", plugin=False).stdout.split()
    ours = host.must_run("host_checks", "generate", path, 200, *threads, "mmap").stdout.split()
    assert len(plain) == 200
    assert ours == plain, first_difference(plain, ours)


@pytest.mark.parametrize("mode", ["inject", "accel"])
@pytest.mark.parametrize("kind", ["bf16", "q8_0", "q4_0", "q4_k_m", "q6_k", "mxfp4"])
def test_result_does_not_depend_on_threads(linked, moe_model, kind, mode):
    path = moe_model(kind)
    texts = {linked.must_run("host_checks", "generate", path, 60, n, n, "auto", SPARAMX_MODE=mode).stdout
             for n in (1, 2, 4)}
    assert len(texts) == 1
