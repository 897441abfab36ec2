"""A model partly on a GPU: the weights of the CPU's part are ours, and what the GPU computes is its own. fake_gpu.cpp
stands for the GPU, which takes prompts over as CUDA does; all weights are BF16, so that the text is the host's own."""

import re

import pytest

import build_host
from conftest import make_model, our_lines

LAYERS, PER_LAYER = 4, 7
OFFLOADED = 3  # layers of four that stay on the CPU with -ngl 2, which are the last layer and the output
# More than the 32 tokens from which on a GPU takes a product over from the CPU.
PROMPT = "one two three a few words to begin with and then some more of them so that there are a lot"
MODES = {"stock": {"plugin": False}, "inject": {"SPARAMX_MODE": "inject"}, "accel": {"SPARAMX_MODE": "accel"}}


@pytest.fixture(scope="module")
def path(linked):
    return make_model(linked, "layers4", "bf16", 0.5, "--layers", "4")


@pytest.fixture(scope="module")
def experts(linked):
    return make_model(linked, "layers4-moe", "bf16", 0.5, "--layers", "4", "--experts", "8", "--experts-used", "2")


@pytest.fixture(scope="module")
def run(linked):
    """run(mode, model, argument...): what it writes, how many matrices the plugin took, and which of the model's
    weights the GPU multiplied by, of its own and copied for it."""
    build_host.add_tools("linked", ["llama-completion"])

    def start(mode, model, *arguments, gpu=True, **environment):
        result = linked.must_run("llama-completion", "-m", model, "-n", 16, "--temp", 0, "-no-cnv", "-p", PROMPT,
                                 "-t", 2, "-c", 512, "--no-warmup", "-fit", "off", "-ot", "nomatch=CPU", *arguments,
                                 GGML_BACKEND_PATH=linked.made / "libfake-gpu.so" if gpu else None, **MODES[mode],
                                 **environment)
        took = [int(re.search(r"took (\d+) matri", line)[1]) for line in our_lines(result.stderr) if "took" in line]
        names = set(re.findall(r"^fake GPU: (\S+)$", result.stderr, re.M))
        copied = {re.search("#(.*)#", name)[1] for name in names if "#" in name}
        return result.stdout, sum(took), {name for name in names if "#" not in name}, copied
    return start


def layer(name):
    return int(name.split(".")[1]) if name.startswith("blk.") else LAYERS


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("host_memory", [True, False], ids=["as-it-is", "no-host"])
def test_layers(run, path, mode, host_memory):
    """The GPU's own host memory comes before extra buffer types, but not before devices. With llama.cpp alone a prompt
    is computed by the GPU from copies of the CPU's weights; ours are never copied."""
    text, took, own, copied = run(mode, path, "-ngl", 2, *([] if host_memory else ["--no-host"]))
    assert text == run("stock", path, gpu=False)[0]
    left = mode == "stock" or (mode == "inject" and host_memory)
    assert took == (0 if left else OFFLOADED * PER_LAYER)
    assert {layer(name) for name in own} == {3, 4} and len(own) == PER_LAYER + 1
    assert {layer(name) for name in copied} == ({0, 1, 2} if left else set())


@pytest.mark.parametrize("mode", ["inject", "accel"])
def test_gpu_without_host_memory(run, path, mode):
    text, took, _, copied = run(mode, path, "-ngl", 2, FAKE_GPU_WITHOUT_HOST=1)
    assert text == run("stock", path, gpu=False)[0] and took == OFFLOADED * PER_LAYER and not copied


@pytest.mark.parametrize("mode", ["inject", "accel"])
def test_tensors_by_name(run, path, mode):
    """-ot: the feed-forward part of two layers on the CPU, everything else on the GPU."""
    text, took, own, copied = run(mode, path, "-ngl", 99, "--no-host", "-ot", r"blk\.[12]\.ffn_.*=CPU")
    assert text == run("stock", path, gpu=False)[0]
    assert took == 6 and len(own) == LAYERS * PER_LAYER + 1 - 6 and not copied
    assert not any(layer(name) in (1, 2) and "ffn" in name for name in own)


@pytest.mark.parametrize("mode", ["inject", "accel"])
@pytest.mark.parametrize("arguments, layers", [(["--cpu-moe"], {0, 1, 2, 3}), (["-ncmoe", 2], {0, 1})],
                         ids=["cpu-moe", "ncmoe"])
def test_experts_on_the_cpu(run, experts, mode, arguments, layers):
    text, took, own, copied = run(mode, experts, "-ngl", 99, "--no-host", *arguments)
    assert text == run("stock", experts, gpu=False)[0]
    assert took == 3 * len(layers) and not copied
    assert {layer(name) for name in own if "exps" in name} == {0, 1, 2, 3} - layers


@pytest.mark.parametrize("mode", ["inject", "accel"])
def test_cache_on_the_cpu(run, path, mode):
    """-nkvo: attention is computed by the CPU in all layers."""
    text, took, _, copied = run(mode, path, "-ngl", 2, "--no-host", "-nkvo")
    assert text == run("stock", path, gpu=False)[0] and took == OFFLOADED * PER_LAYER and not copied


def test_nothing_on_the_cpu(run, path):
    """A line says that nothing was taken, and nothing is computed by the device."""
    for mode in ("inject", "accel"):
        text, took, own, _ = run(mode, path, "-ngl", 99)
        assert text == run("stock", path, gpu=False)[0] and took == 0 and len(own) == LAYERS * PER_LAYER + 1
