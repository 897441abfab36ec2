"""SPARAMX_COLLECT: the Gram matrices against numpy, in a process that also writes down all inputs by the host's own
callback; passes, models and texts that do not fit, and what is said about it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest

from conftest import ROOT, our_lines

sys.path.insert(0, str(ROOT / "examples" / "prune"))
from gram import Grams  # noqa: E402

DECLINED = {"SPARAMX_REFERENCE": None, "SPARAMX_ISA": "reference"}  # the library takes nothing; the host computes
WAYS = {"taken": {}, "device": {"SPARAMX_MODE": "accel"}, "declined": DECLINED}
BATCHES, SIZE = 3, 300


def collect(host, model, file, folder, *more, batches=BATCHES, size=SIZE, threads=2, **environment):
    """One pass. folder is for what the host's callback sees. The lines that are about collecting, without those that
    tell how far it is."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    result = host.must_run("collect_checks", model, batches, size, threads, folder, *more, SPARAMX_COLLECT=file,
                           **environment)
    return [line for line in our_lines(result.stderr)
            if not re.match("sparamx: (libsparamx|took|not used|nothing taken|collecting: )", line)]


def seen(folder, name, columns):
    """{expert or None: the inputs}, in float64."""
    x = np.fromfile(folder / f"{name}.x", np.float32).reshape(-1, columns).astype(np.float64)
    if not (folder / f"{name}.ids").exists():
        return {None: x}
    used = 2
    ids = np.fromfile(folder / f"{name}.ids", np.int32).reshape(-1, used)
    if len(x) == len(ids):  # one row for all experts of a token
        x = np.repeat(x, used, axis=0)
    assert len(x) == ids.size
    return {int(e): x[ids.reshape(-1) == e] for e in np.unique(ids)}


def check(grams, folder):
    """Every matrix that the callback saw is there, with the same sums."""
    names = sorted(path.name.removesuffix(".x") for path in folder.glob("*.x") if "gate_inp" not in path.name)
    assert grams.names() == names and grams.missing == 0
    for name in names:
        parts = seen(folder, name, grams.columns(name))
        assert grams.experts(name) == ([] if None in parts else sorted(parts))
        for expert, x in parts.items():
            assert grams.count(name, expert) == len(x)
            found, wanted = grams.gram(name, expert), x.T @ x
            scale = np.sqrt(np.outer(np.diag(wanted), np.diag(wanted)))
            assert np.abs(found - wanted).max() > 0 or len(x) < 3  # rounded: not a copy of the same computation
            assert (np.abs(found - wanted) <= 1e-5 * scale).all(), (name, expert)
            assert (found == found.T).all()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["bf16", "Q4_K_M"])
def test_sums_are_those_of_numpy(host, model, tmp_path, way, kind):
    file, folder = tmp_path / "grams.safetensors", tmp_path / "seen"
    path = model(kind)
    lines = collect(host, path, file, folder, **WAYS[way])
    assert "collecting the inputs of 15 of 15 matrices in 9 sums" in lines[-2] and lines[-2].endswith("pass 1 of 1")
    assert re.search(r"has the inputs of 15 of 15 matrices, from 899 tokens .* pass 1 of 1, which is all$", lines[-1])
    grams = Grams(file)
    check(grams, folder)
    assert grams.tokens == BATCHES * SIZE - 1 and grams.model == path.name
    assert grams.source("blk.0.attn_k.weight") == grams.source("blk.0.attn_v.weight") == "blk.0.attn_q.weight"
    assert grams.source("blk.1.ffn_up.weight") == "blk.1.ffn_gate.weight"
    assert grams.source("blk.1.attn_output.weight") == "blk.1.attn_output.weight"
    assert sorted(os.listdir(tmp_path)) == ["grams.safetensors", "seen"]


@pytest.mark.parametrize("way", WAYS)
def test_experts_are_apart(linked, moe_model, tmp_path, way):
    file, folder = tmp_path / "grams.safetensors", tmp_path / "seen"
    lines = collect(linked, moe_model("bf16"), file, folder, **WAYS[way])
    grams = Grams(file)
    check(grams, folder)
    assert grams.experts("blk.0.ffn_down_exps.weight") == list(range(8))
    assert grams.source("blk.0.ffn_up_exps.weight") == grams.source("blk.0.ffn_gate_exps.weight")
    left = [line for line in lines if "not collected" in line]
    assert len(left) == 1 and "chooses the experts" in left[0]
    assert "blk.0.ffn_gate_inp.weight, blk.1.ffn_gate_inp.weight" in left[0]


def test_sums_do_not_depend_on_threads(linked, model, tmp_path):
    for threads in (1, 2, 3):
        collect(linked, model("bf16"), tmp_path / f"{threads}", tmp_path / "seen", threads=threads, **DECLINED)
    one, *others = (Grams(tmp_path / f"{threads}") for threads in (1, 2, 3))
    for other in others:
        for name in one.names():
            assert (one.gram(name) == other.gram(name)).all()


@pytest.mark.parametrize("limit", [{"SPARAMX_COLLECT_MATRICES": 2}, {"SPARAMX_COLLECT_MEMORY": 5}])
def test_several_passes_are_one(linked, model, moe_model, tmp_path, limit):
    for path in (model("bf16"), moe_model("bf16")):
        whole, parts = tmp_path / f"{path.stem}-whole", tmp_path / f"{path.stem}-parts"
        if "moe" in path.stem and "SPARAMX_COLLECT_MEMORY" in limit:
            limit = {"SPARAMX_COLLECT_MEMORY": 30}
        collect(linked, path, whole, tmp_path / "seen", **DECLINED)
        passes, done, last = 0, 0, ""
        while "which is all" not in last:
            last = [line for line in collect(linked, path, parts, tmp_path / "seen", **DECLINED, **limit)
                    if "has the inputs" in line][0]
            passes += 1
            before, done = done, len(Grams(parts).names())
            assert before < done
            told = re.search(r"has the inputs of (\d+) of (\d+) matrices.*pass (\d+) of (\d+)", last)
            assert (int(told[1]), int(told[3])) == (done, passes)
            assert Grams(parts).missing == int(told[2]) - done
            if passes == 1:
                n_passes = int(told[4])
            assert int(told[4]) == n_passes
        assert passes == n_passes > 1
        one, other = Grams(whole), Grams(parts)
        assert one.names() == other.names()
        for name in one.names():
            assert one.source(name) == other.source(name)
            for expert in one.experts(name) or [None]:
                assert one.count(name, expert) == other.count(name, expert)
                assert (one.gram(name, expert) == other.gram(name, expert)).all()
        lines = collect(linked, path, parts, tmp_path / "seen", **DECLINED)
        assert "is complete" in lines[-1] or "is complete" in lines[-2]


def test_perplexity_alone(linked, model, text, tmp_path):
    """The command of the guide; the batch with which the host warms up is not counted."""
    file = tmp_path / "grams.safetensors"
    log = linked.must_run("llama-perplexity", "-m", model("bf16"), "-f", text, "-c", 128, "--chunks", 6, "-t", 2,
                          SPARAMX_COLLECT=file, **DECLINED).stderr
    assert f"sparamx: {file} has the inputs of 15 of 15 matrices, from 768 tokens" in log
    grams = Grams(file)
    assert grams.count("blk.0.attn_q.weight") == 768
    assert grams.count("output.weight") == 384  # the host wants results of the second half of each chunk


def refused(host, model, file, folder, *more, **options):
    """The pass writes nothing, and says why in one sentence, at the end too. Returns it."""
    before = file.read_bytes() if file.is_file() else None
    lines = collect(host, model, file, folder, *more, **{**DECLINED, **options})
    assert (file.read_bytes() if file.is_file() else None) == before
    told = [line for line in lines if "nothing is collected" in line or "was not written" in line]
    assert len(told) == 1, lines
    return told[0]


def test_what_does_not_belong_together(linked, model, moe_model, tmp_path):
    file, folder = tmp_path / "grams.safetensors", tmp_path / "seen"
    collect(linked, model("bf16"), file, folder, SPARAMX_COLLECT_MATRICES=3, **DECLINED)
    assert "another model, text or setting" in refused(linked, model("bf16", 0.0), file, folder)
    assert "another model, text or setting" in refused(linked, model("bf16"), file, folder, size=SIZE + 1)
    assert "another model, text or setting" in refused(linked, model("bf16"), file, folder, batches=BATCHES + 1)
    assert "another model" in refused(linked, moe_model("bf16"), file, folder)
    lines = collect(linked, model("bf16"), file, folder, **DECLINED)
    assert "pass 2 of 2, which is all" in lines[-1]
    check(Grams(file), folder)


def test_two_contexts_that_take_turns(linked, model, tmp_path):
    file, folder = tmp_path / "grams.safetensors", tmp_path / "seen"
    collect(linked, model("bf16"), file, folder, "twice", **DECLINED)
    check(Grams(file), folder)


def test_files_that_cannot_be_written(linked, model, tmp_path):
    folder, path = tmp_path / "seen", model("bf16")
    foreign = tmp_path / "foreign"
    foreign.write_text("a text of somebody, longer than eight bytes")
    assert "something else than Gram matrices" in refused(linked, path, foreign, folder)
    assert "no regular file" in refused(linked, path, tmp_path, folder)
    assert "No such file or directory" in refused(linked, path, tmp_path / "none" / "file", folder)
    assert "no regular file" in refused(linked, path, Path("/dev/null"), folder)
    for name, value in (("MATRICES", "0"), ("MATRICES", "x"), ("MEMORY", "-1"), ("MEMORY", "1e3")):
        line = refused(linked, path, tmp_path / "new", folder, **{f"SPARAMX_COLLECT_{name}": value})
        assert f"SPARAMX_COLLECT_{name} is \"{value}\" instead of a whole number" in line
    line = refused(linked, path, tmp_path / "new", folder, SPARAMX_COLLECT_MEMORY=1)
    assert re.search(r"the sums for \S+ take \d+ MiB, and 1 MiB may be taken: raise SPARAMX_COLLECT_MEMORY", line)


def test_killed(linked, model, text, tmp_path):
    """In the second pass: the file is as it was, and nothing lies beside it. The same pass can then be made."""
    file = tmp_path / "grams"
    command = ("llama-perplexity", "-m", model("bf16"), "-f", text, "-c", 128, "--chunks", 64, "-t", 2)
    options = {"SPARAMX_COLLECT": file, "SPARAMX_COLLECT_MATRICES": 5, **DECLINED}
    linked.must_run(*command, **options)
    before = file.read_bytes()
    for number in (signal.SIGTERM, signal.SIGKILL):
        arguments, environment = linked.command(*command, **options)
        process = subprocess.Popen([str(part) for part in arguments], env=environment, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True, errors="replace")
        assert any("collecting the inputs" in line for line in process.stderr)  # and no further
        process.send_signal(number)
        process.communicate()
        assert process.returncode == -number
        assert file.read_bytes() == before and os.listdir(tmp_path) == ["grams"]
    assert "pass 2 of 2, which is all" in linked.must_run(*command, **options).stderr
    assert Grams(file).missing == 0


@pytest.mark.parametrize("experts, better", [(False, "exchange"), (True, "sparsegpt")], ids=["dense", "experts"])
def test_from_the_hosts_text_to_a_pruned_model(linked, model, moe_model, text, tmp_path, experts, better):
    """The whole way of the guide: the host's own program collects, prune.py prunes by that file, the host reads the
    result. The zeros are those that the sums choose, computed here once more; a method that fits what stays, tried on
    the first layer, is nearer to the dense results than these zeros alone."""
    dense = (moe_model if experts else model)("bf16", 0.0)
    grams = tmp_path / "grams.safetensors"
    host = ("-f", text, "-c", 128, "--chunks", 8, "-t", 2)
    linked.must_run("llama-perplexity", "-m", dense, *host, SPARAMX_COLLECT=grams, **DECLINED)
    sums, before = Grams(grams), read_tensors(dense)
    inside = [name for name, w in before.items() if name.startswith("blk.") and w.ndim > 1 and "gate_inp" not in name]
    assert len(inside) == 14
    errors = {}
    for method, more in (("scores", ()), (better, ("--include", r"^blk\.0\.(attn_output|ffn_down|ffn_down_exps)\."))):
        pruned = tmp_path / f"{method}.gguf"
        command = [sys.executable, ROOT / "examples/prune/prune.py", dense, pruned, "--gram", grams, "--share", "0.5",
                   "--method", method, *more]
        told = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        assert told.returncode == 0 and told.stderr == "", told.stdout + told.stderr
        chosen = [name for name in inside if not more or re.search(more[1], name)]
        assert f": {len(chosen)} of " in told.stdout
        after = read_tensors(pruned)
        assert list(after) == list(before)
        assert all(np.array_equal(after[name], w) for name, w in before.items() if name not in chosen)
        for name in chosen:
            w, v = before[name], after[name]
            assert ((v == 0).sum(axis=-1) == w.shape[-1] // 2).all(), name
            for expert in sums.experts(name) or [None]:
                at = slice(None) if expert is None else expert
                h = sums.gram(name, expert).astype(np.float64)
                errors[method, name, expert] = distance(w[at] - v[at], h) / distance(w[at], h)
                if method == "scores":
                    kept, score = v[at] != 0, np.abs(w[at]) * np.sqrt(np.diag(h))
                    assert np.array_equal(v[at][kept], w[at][kept])
                    largest, least = np.where(kept, 0, score).max(axis=1), np.where(kept, score, np.inf).min(axis=1)
                    assert (largest <= least * (1 + 1e-6)).all(), name
        log = linked.must_run("llama-perplexity", "-m", pruned, *host, plugin=False).stderr
        assert re.search(r"Final estimate: PPL = [1-9]", log)
    fitted = [key[1:] for key in errors if key[0] == better]
    assert len(fitted) == (9 if experts else 2)
    assert all(errors[better, *key] < 0.9 * errors["scores", *key] for key in fitted), errors


def distance(change, h):
    """Of the results, over all tokens that the sums are of."""
    return float(np.sum((change @ h) * change))


def read_tensors(path):
    """{name: float32 array}"""
    return {t.name: np.asarray(gguf.dequantize(t.data, t.tensor_type), np.float32)
            for t in gguf.GGUFReader(path).tensors}
