"""SPARAMX_KV: attention of a stock llama.cpp over packed key-value caches."""

import re

import pytest

import accuracy
from conftest import our_lines
from server import Server

CONTEXT, CHUNKS = 256, 4
LEFT = {"SPARAMX_LEAVE": "*"}  # weights stay the host's, so that caches alone make a difference
LINE = re.compile(r"sparamx: key-value cache: (\d+) layers, (\d+) attentions, (\d+) packed blocks, (\d+) KiB")
LAYERS = 2  # of the tiny model


def served(log):
    """(attentions, packed blocks) of the cache that was used last."""
    layers, attentions, blocks, _ = map(int, LINE.findall(log)[-1])
    assert layers == LAYERS
    return attentions, blocks


@pytest.fixture(scope="module")
def base(linked, model, text, tmp_path_factory):
    """The host's own logits."""
    file = tmp_path_factory.mktemp("logits") / "base.kld"
    linked.must_run("llama-perplexity", "-m", model("bf16"), "-f", text, "-c", CONTEXT, "-b", CONTEXT, "--chunks",
                    CHUNKS, "-t", 2, "--save-all-logits", file, plugin=False)
    return file


def divergence(host, path, text, base, shares, *more):
    """Mean KLD, with 8 tokens at a time."""
    for _ in range(6):  # a run that lost the end of its log (see linger.c) is repeated
        result = host.must_run("llama-perplexity", "-m", path, "-f", text, "-c", CONTEXT, "-b", CONTEXT, "-ub", 8,
                               "-t", 2, "--chunks", CHUNKS, "--kl-divergence", "--kl-divergence-base", base, *more,
                               SPARAMX_KV=shares, **LEFT)
        log = result.stdout + result.stderr
        mean = re.search(r"Mean +KLD: +(-?[0-9.]+)", log)
        if mean and LINE.search(log):
            return float(mean[1]), log
    raise AssertionError("llama-perplexity never printed its statistics: " + log[-2000:])


@pytest.mark.parametrize("types", [(), ("-ctk", "bf16", "-ctv", "f16")])
def test_unpruned(linked, model, text, base, types):
    mean, log = divergence(linked, model("bf16"), text, base, "0,0", *types)
    attentions, blocks = served(log)
    assert attentions >= LAYERS * CHUNKS * CONTEXT // 8 and blocks >= LAYERS * CONTEXT // 64
    print(f"{types}: mean KLD {mean}")
    assert abs(mean) < 3e-4


def test_pruned(linked, model, text, base):
    exact, _ = divergence(linked, model("bf16"), text, base, "0,0")
    mean, log = divergence(linked, model("bf16"), text, base, "30,50")
    worse, _ = divergence(linked, model("bf16"), text, base, "90,90")
    print(f"mean KLD {exact}, {mean}, {worse}")
    assert served(log)[1] > 0 and abs(exact) < mean < worse


def test_threads(linked, model):
    """The same tokens with any number of threads. The host's own attention, of the prompt, has one in each case."""
    texts = set()
    for n in (1, 2, 4):
        result = linked.must_run("host_checks", "generate", model("bf16"), 200, n, 1, "mmap", SPARAMX_KV="0,0",
                                 HOST_CHECKS_FLASH=1, **LEFT)
        assert served(result.stderr)[1] >= LAYERS * 3
        texts.add(result.stdout)
    assert len(texts) == 1


def test_nothing_to_serve(linked, model):
    """Without flash attention the host computes everything, and a line says what is missing."""
    results = [linked.must_run("host_checks", "generate", model("bf16"), 80, 2, 1, "mmap", SPARAMX_KV=shares, **LEFT)
               for shares in ("0,0", None)]
    assert results[0].stdout == results[1].stdout
    assert "is left to the host" in results[0].stderr and "not -fa off" in results[0].stderr
    assert not any("key-value" in line for line in our_lines(results[1].stderr))


@pytest.mark.parametrize("share", ["dense", "50"])
def test_text_of_numbers_as_they_are(linked, share):
    """Trained weights, and as many tokens as the model's context has: the host's text to the last token."""
    path = accuracy.MODELS / f"trained-{share}.gguf"
    command = ["llama-simple", "-m", path, "-n", 480, "def read(self, size=-1):"]
    plain = linked.must_run(*command, plugin=False)
    ours = linked.must_run(*command, SPARAMX_KV="kept", **LEFT)
    layers, attentions, blocks, _ = map(int, LINE.findall(ours.stderr)[-1])
    assert layers == 6 and attentions >= 6 * 470 and blocks >= 6 * 7
    assert ours.stdout == plain.stdout and len(plain.stdout) > 800


def serve(linked, log, model, *arguments, **options):
    return Server(linked, log, model("bf16"), *arguments, **options)


PROMPT = "a few words to begin with, and then some more of them, until there are as many as a block of cells has: "


def last_logits(answer):
    """Of the last tokens; the host joins some at other places, so the lists differ at their beginning."""
    return [token["logprob"] for token in answer["completion_probabilities"]][-20:]


def test_restored_slot(linked, model, tmp_path):
    """What is written around the graph is seen: a slot that is saved, overwritten and restored goes on as before. The
    tokens of these models say little about that, but their probabilities do: without the mark they are 0.3 off."""
    with serve(linked, tmp_path / "log", model, "-np", 1, "--slot-save-path", f"{tmp_path}/", SPARAMX_KV="0,0",
               **LEFT) as server:
        tokens = server.ask("/tokenize", {"content": PROMPT * 2, "add_special": True})["tokens"]
        whole = server.complete(tokens, 64, n_probs=1)
        begun = whole["tokens"][:32]
        assert server.complete(tokens, 32, cache_prompt=True)["tokens"] == begun
        saved = server.ask("/slots/0?action=save", {"filename": "slot"})["n_saved"]
        server.complete("zig zag " * 60 + "42", 64)
        assert server.ask("/slots/0?action=restore", {"filename": "slot"})["n_restored"] == saved
        again = server.complete(tokens + begun, 32, cache_prompt=True, n_probs=1)
        assert again["timings"]["cache_n"] >= saved - 1
    assert served((tmp_path / "log").read_text())[1] > 0
    assert begun + again["tokens"] == whole["tokens"]
    assert last_logits(again) == pytest.approx(last_logits(whole), abs=0.02)


def test_slots_together(linked, model, tmp_path):
    """Several sequences in one cache, or each in its own, and cells that are used again."""
    prompts = [PROMPT + str(i) * (i * 7 + 1) for i in range(5)]
    answers = []
    for more in ([], ["--kv-unified"]):
        with serve(linked, tmp_path / f"log-{len(answers)}", model, "-np", 3, "-c", 1536, *more, SPARAMX_KV="0,0",
                   **LEFT) as server:
            answers.append([server.complete(prompt, 48)["tokens"] for prompt in prompts + prompts])
        log = (tmp_path / f"log-{len(answers) - 1}").read_text()
        assert served(log)[0] > 0
    for tokens in answers:
        assert tokens[:5] == tokens[5:]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("value", ["0", "0,", "30,50,1", "-1,0", "0,96", "a,b", "1e9,0"])
def test_wrong_value(linked, model, value):
    result = linked.must_run("llama-simple", "-m", model("bf16"), "-n", 4, "some words", SPARAMX_KV=value)
    assert f'SPARAMX_KV is "{value}" instead of two percentages' in result.stderr
    assert not LINE.search(result.stderr)


def test_quantized_cache_is_left(linked, model):
    """Quantized keys and values are rotated by the host, after which leaving numbers out costs four times as much."""
    result = linked.must_run("llama-completion", "-m", model("bf16"), "-n", 8, "-p", "some words", "-no-cnv", "-ctk",
                             "q8_0", "-ctv", "q8_0", SPARAMX_KV="0,0")
    assert not LINE.search(result.stderr)
