"""llama-server with the library: what it answers is what it answers without."""

import re
from concurrent.futures import ThreadPoolExecutor

import gguf
import numpy as np
import pytest

import models
from conftest import WORK
from server import Server

MODES = ["inject", "accel"]
SLOTS = 4
# Shorter and longer ones, so that prompts and single tokens of different slots are computed together. Each ends with
# another token, or these models would go on alike.
PROMPTS = ["one", "a few words to begin with", "the rain in the tune of noise and stone then rises on" * 2, "zig zag",
           "42", "some other words, and then some more of them", "end of", "(x, y)"]
TOKENS = 48
MATRICES = 15  # of the tiny model: seven in each of two layers, and the output


@pytest.fixture
def serve(linked, tmp_path):
    """serve(model, argument..., plugin=..., ...): a server, by whose log it can be told what was taken."""
    count = iter(range(100))
    return lambda model, *arguments, **options: Server(linked, tmp_path / f"server-{next(count)}.log", model,
                                                       *arguments, **options)


def one_at_a_time(server, **more):
    return [server.complete(prompt, TOKENS, **more)["tokens"] for prompt in PROMPTS]


def together(server, **more):
    with ThreadPoolExecutor(len(PROMPTS)) as pool:
        answers = pool.map(lambda prompt: server.complete(prompt, TOKENS, **more), PROMPTS)
        return [answer["tokens"] for answer in answers]


@pytest.fixture(scope="module")
def stock(linked, model, tmp_path_factory):
    """stock(argument...): the answers of the server without the plugin, one prompt at a time."""
    made = {}

    def answers(*arguments):
        if arguments not in made:
            log = tmp_path_factory.mktemp("stock") / "server.log"
            with Server(linked, log, model("bf16"), "-np", 1, *arguments, plugin=False) as server:
                made[arguments] = one_at_a_time(server)
                assert "sparamx" not in server.log()
            assert len({tuple(tokens) for tokens in made[arguments]}) == len(PROMPTS)
        return made[arguments]
    return answers


def busy_slots(server):
    """How many slots a batch had on average, and so whether anything was computed together."""
    return float(re.search(r"^llamacpp:n_busy_slots_per_decode (\S+)", server.ask("/metrics"), re.M)[1])


@pytest.mark.parametrize("mode", MODES)
def test_parallel_slots(model, serve, stock, mode):
    with serve(model("bf16"), "-np", SLOTS, "--metrics", SPARAMX_MODE=mode) as server:
        assert together(server) == stock()
        assert busy_slots(server) > 1.5
        assert server.took() == [MATRICES]


@pytest.mark.parametrize("kind", ["q8_0", "q4_0", "q4_k_m"])
def test_parallel_slots_of_quantized_weights(model, serve, kind):
    """A slot's answer does not depend on what the others are asked."""
    with serve(model(kind), "-np", SLOTS, "--metrics") as server:
        alone = one_at_a_time(server)
        assert busy_slots(server) == 1
        assert together(server) == alone
        assert busy_slots(server) > 1.2  # of both passes
        assert server.took() == [MATRICES]


def test_ways_in(linked, model, serve):
    """GGML_BACKEND_PATH is ignored, without a word, until an override makes the server load all backends."""
    variables = {"SPARAMX_LIB": linked.library, "GGML_BACKEND_PATH": linked.plugin}
    with serve(model("bf16"), plugin=False, **variables) as server:
        assert "sparamx" not in server.log() and "SPARAMX" not in server.log()
    with serve(model("bf16"), "-ot", "nomatch=CPU", plugin=False, **variables) as server:
        assert server.took() == [MATRICES]
    with serve(model("bf16"), plugin=False, LLAMA_ARG_OVERRIDE_TENSOR="nomatch=CPU", **variables) as server:
        assert server.took() == [MATRICES]


@pytest.mark.parametrize("mode", MODES)
def test_speculative_decoding(model, serve, stock, mode):
    """Another, smaller model proposes tokens, and the library multiplies the weights of both."""
    draft = models.make(WORK / "models" / "draft-bf16-50.gguf", "bf16", 0.5, "--preset", "tiny", "--layers", "1",
                        "--seed", "2")
    with serve(model("bf16"), "-np", 1, "-md", draft, "--spec-type", "draft-simple", SPARAMX_MODE=mode) as server:
        assert one_at_a_time(server) == stock()
        timings = server.complete(PROMPTS[0], TOKENS)["timings"]
        assert timings["draft_n"] >= timings["draft_n_accepted"] > TOKENS / 4, timings
        assert sorted(server.took()) == [8, MATRICES]


@pytest.mark.parametrize("mode", MODES)
def test_quantized_cache(model, serve, stock, mode):
    arguments = ("-ctk", "q8_0", "-ctv", "q8_0", "-fa", "on")
    with serve(model("bf16"), "-np", SLOTS, *arguments, SPARAMX_MODE=mode) as server:
        assert one_at_a_time(server) == stock(*arguments)
        assert server.took() == [MATRICES]


@pytest.fixture(scope="module")
def adapter(model, tmp_path_factory):
    """A LoRA adapter of rank 32 for every matrix: it makes another token follow after each of 32 of them."""
    path = tmp_path_factory.mktemp("lora") / "adapter.gguf"
    tensors = {t.name: t for t in gguf.GGUFReader(model("bf16")).tensors}
    rng = np.random.default_rng(5)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 32.0)
    for name, tensor in tensors.items():
        if name.startswith("blk.") and len(tensor.shape) == 2:
            inner, rows = map(int, tensor.shape)
            writer.add_tensor(f"{name}.lora_a", rng.normal(0, inner ** -0.5, (32, inner)).astype(np.float32))
            writer.add_tensor(f"{name}.lora_b", rng.normal(0, 0.02, (rows, 32)).astype(np.float32))
    embedding = gguf.quants.dequantize(tensors["token_embd.weight"].data, tensors["token_embd.weight"].tensor_type)
    embedding = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    before, after = np.split(rng.permutation(np.arange(models.N_SPECIAL_TOKENS, len(embedding)))[:64], 2)
    favour = np.zeros((len(embedding), 32), np.float32)
    favour[after, np.arange(32)] = 2 * models.PREFERENCE
    writer.add_tensor("output.weight.lora_a", embedding[before].astype(np.float32))
    writer.add_tensor("output.weight.lora_b", favour)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("mode", MODES)
def test_lora(model, serve, stock, adapter, mode):
    adapted = stock("--lora", adapter)
    assert sum(a != b for a, b in zip(adapted, stock())) > len(PROMPTS) / 2
    with serve(model("bf16"), "-np", 1, "--lora", adapter, SPARAMX_MODE=mode) as server:
        assert one_at_a_time(server) == adapted
        # And a request without it.
        assert one_at_a_time(server, lora=[{"id": 0, "scale": 0.0}]) == stock()
        assert server.took() == [MATRICES]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("saves, restores", [(True, True), (False, True), (True, False)],
                         ids=["saved-and-restored", "restored-from-stock", "saved-for-stock"])
def test_saved_slot(model, serve, stock, tmp_path, saves, restores, mode):
    """What a slot holds goes to a file, and another server goes on from there."""
    prompt, whole, half = PROMPTS[2], stock()[2], TOKENS // 2
    arguments = ("-np", 2, "--slot-save-path", f"{tmp_path}/")
    with serve(model("bf16"), *arguments, plugin=saves, SPARAMX_MODE=mode if saves else None) as server:
        tokens = server.ask("/tokenize", {"content": prompt, "add_special": True})["tokens"]
        assert server.complete(prompt, half, id_slot=1, cache_prompt=True)["tokens"] == whole[:half]
        saved = server.ask("/slots/1?action=save", {"filename": "slot.bin"})["n_saved"]
        assert saved >= len(tokens) + half - 1
        assert server.took() == [MATRICES] * saves
    with serve(model("bf16"), *arguments, plugin=restores, SPARAMX_MODE=mode if restores else None) as server:
        assert server.ask("/slots/0?action=restore", {"filename": "slot.bin"})["n_restored"] == saved
        answer = server.complete(tokens + whole[:half], TOKENS - half, id_slot=0, cache_prompt=True)
        assert answer["timings"]["cache_n"] >= saved - 1, answer["timings"]
        assert answer["tokens"] == whole[half:]
        assert server.took() == [MATRICES] * restores
