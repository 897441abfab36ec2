"""report.py --sweep and --equal with an engine of our own, which gives each file the perplexity of its distance: the
commands, numbers and sentences, without llama.cpp. The real one: ../hosts/test_trained.py."""

import json
import os
import stat
import subprocess
import sys

import numpy as np
import pytest

from conftest import PRUNE, PRUNED, Type, weights_of, tensors_of
from grams import inputs, write_grams

ENGINE = f"""#!{sys.executable}
import sys, shutil, numpy as np, gguf
def weights(path):
    return {{t.name: np.asarray(gguf.dequantize(t.data, t.tensor_type)) for t in gguf.GGUFReader(path).tensors}}
a = sys.argv[1:]
if sys.argv[0].endswith("llama-quantize"):
    source, out, kind = a[1:4]
    writer = gguf.GGUFWriter(out, "llama")
    kind = gguf.GGMLQuantizationType[kind]
    for t in gguf.GGUFReader(source).tensors:
        w = np.asarray(gguf.dequantize(t.data, t.tensor_type), dtype=np.float32)
        writer.add_tensor(t.name, w if w.ndim == 1 else gguf.quantize(w, kind), raw_dtype=None if w.ndim == 1 else kind)
    writer.write_header_to_file(); writer.write_kv_data_to_file(); writer.write_tensors_to_file(); writer.close()
    sys.exit()
model, text = a[a.index("-m") + 1], a[a.index("-f") + 1]
base = a[a.index("--kl-divergence-base") + 1] if "--kl-divergence-base" in a else None
if "--save-all-logits" in a:
    shutil.copy(model, a[a.index("--save-all-logits") + 1])
    print("Final estimate: PPL = 10.0")
    sys.exit()
m = weights(model)
if base is None:  # the calibration text: the first layer is the one that must not be pruned
    print("Final estimate: PPL = %f" % (10 + (m["{PRUNED[0]}"] == 0).mean()))
    sys.exit()
b = weights(base)
x = np.load(text)
far = sum(np.square((m[n] - b[n]) @ x.T).sum() / np.square(b[n] @ x.T).sum() for n in {PRUNED!r})
print("Mean PPL(Q) : %f" % (10 * np.exp(far)))
import os
lost = os.path.join(os.path.dirname(sys.argv[0]), "lost")
if not os.path.exists(lost):  # the first time the end of the log is lost, as it is now and then
    open(lost, "w").close()
    sys.exit()
print("Mean KLD: %f\\nSame top p: %f" % (far, 100 - far))
"""


@pytest.fixture
def host(tmp_path):
    folder = tmp_path / "host"
    folder.mkdir()
    for name in ("llama-perplexity", "llama-quantize"):
        (folder / name).write_text(ENGINE)
        (folder / name).chmod(stat.S_IRWXU)
    np.save(tmp_path / "text.npy", inputs(256, seed=4))
    grams = write_grams(tmp_path / "grams", {PRUNED[0]: inputs(256, seed=4)}, {name: PRUNED[0] for name in PRUNED[1:]})
    return ["--host", folder, "--text", tmp_path / "text.npy", "--gram", grams, "--threads", "1"]


def report(*arguments, status=0):
    result = subprocess.run([sys.executable, PRUNE / "report.py", *map(str, arguments)], capture_output=True, text=True,
                            timeout=600)
    assert result.returncode == status and "Traceback" not in result.stderr, result.stdout + result.stderr
    return result


def test_sweep(tmp_path, model, host):
    dense = model(Type.BF16)
    told = report("--sweep", dense, *host, "--shares", "0.5", "--methods", "wanda,exchange,exchange growing,wanda 2:4",
                  "--calibration", tmp_path / "text.npy", "--steps", "0,0.2,-0.2,0.6", "--out", tmp_path / "r").stdout
    first, wanda, exchange, growing, pattern = json.loads((tmp_path / "r/report.json").read_text())["sweep"]
    assert first["ppl"] == 10 and all(row["seconds"] > 0 for row in (wanda, exchange, growing, pattern))
    assert exchange["ppl"] < wanda["ppl"] < pattern["ppl"] and exchange["kld"] < wanda["kld"]
    closed = np.log(wanda["ppl"] / exchange["ppl"]) / np.log(wanda["ppl"] / 10)
    assert abs(exchange["closed"] - closed) < 1e-3 and wanda["closed"] is None and f"{closed:.0%}" in told
    # Of the steps that leave all shares between 0 and 1, that which the calibration text likes best.
    assert growing["step"] == 0.2 and "exchange growing 0.2" in told


def test_equal_bytes(tmp_path, model, host, monkeypatch):
    sys.path.insert(0, str(PRUNE))
    import equal
    import measures
    import sweep
    dense = model(Type.BF16)
    args = dict(zip(host[::2], host[1::2]))
    # As the library packs: a bit for each weight, and the bits of those that are not zero.
    bits = {"BF16": 16, "Q8_0": 8.5, "Q4_0": 4.5}

    def call(command, **options):
        if not str(command[0]).endswith("sparamx-explain"):
            return measures_call(command, **options)
        tensors = []
        for name, tensor in tensors_of(command[-1]).items():
            w = weights_of(tensor)
            whole = bits.get(tensor.tensor_type.name, 32)
            packed = min(1 + (w != 0).mean() * whole, whole)
            tensors.append({"taken": w.ndim > 1, "bytes": w.size * packed / 8, "file_bytes": int(tensor.n_bytes)})
        return json.dumps({"tensors": tensors})
    measures_call = measures.call
    monkeypatch.setattr(equal, "call", call)
    rows = equal.rows_of(measures.Host(args["--host"], None, None, 1), dense, sweep.Texts(args["--text"], None, 256, 0),
                         ["BF16", "Q8_0", "Q4_0"], [0.5], sweep.Method.of("exchange"), None, args["--gram"], tmp_path,
                         list)
    assert [(row["type"], row["share"]) for row in rows] == [(kind, share) for share in (0, 0.5) for kind in bits]
    assert rows[0]["kld"] == 0 < rows[1]["kld"] < rows[2]["kld"] and rows[3]["bytes"] < rows[0]["bytes"]
    least = next(row for row in rows if row["type"] == "Q4_0")
    assert rows[4]["bytes"] > least["bytes"] > rows[5]["bytes"]
    # Nearer than the next smaller dense one is not enough: on a line to the next larger one it must be as well.
    between = [*rows[:3], {**rows[4], "kld": least["kld"] * 0.99}]
    told = equal.verdict(between)
    assert told.startswith("Do not prune this model") and "Q8_0 with 50% zeros" in told
    part = (rows[4]["bytes"] - least["bytes"]) / (rows[1]["bytes"] - least["bytes"])
    line = least["kld"]**(1 - part) * rows[1]["kld"]**part
    assert f"at {line:.4f}." in told
    for factor, words in ((0.98, "Worth their bytes"), (1.02, "Do not prune")):
        assert equal.verdict([*rows[:3], {**rows[4], "kld": line * factor}]).startswith(words)
    assert equal.verdict([*rows[:3], {**rows[4], "bytes": 10**9, "kld": 0.1}]).startswith("Do not")  # none is larger
    assert "Q4_0 with 50%" not in equal.verdict(rows)  # it has nothing of its size beside it
    assert equal.verdict([*rows[:3], rows[5]]).startswith("Nothing can be said")
    import pictures
    pictures.equal_bytes(rows, tmp_path)
    drawn = (tmp_path / "equal-bytes.svg").read_text()
    assert all(f"<!-- {text} -->" in drawn for text in ("dense", "50% zeros", "Q4_0", "BF16"))


def test_equal_bytes_from_the_command_line(tmp_path, model, host):
    build = PRUNE.parents[1] / "build"
    if not (build / "examples/sparamx-explain").exists():
        pytest.skip("SKIPPED 1: the library is not built into build/")
    told = report("--equal", model(Type.BF16), *host, "--build", build, "--types", "BF16,Q8_0,Q4_0", "--shares", "0.5",
                  "--out", tmp_path / "r").stdout.splitlines()
    assert told[-1].startswith(("Do not prune", "Worth their bytes")) and any("Speeds are not" in line for line in told)
    assert len(json.loads((tmp_path / "r/report.json").read_text())["equal"]) == 6
    assert os.path.getsize(tmp_path / "r/equal-bytes.png") > 10000


def test_faults(tmp_path, model, host):
    dense = model(Type.BF16)
    for more in (["--sweep", dense, "--equal", dense], ["--equal", dense], ["--sweep", dense, "--methods", "scores"],
                 ["--sweep", dense, "--methods", "exchange model"], ["--sweep", dense, "--methods", "exchange growing"],
                 ["--equal", dense, "--build", tmp_path, "--types", "../x"],
                 ["--equal", dense, "--build", tmp_path, "--methods", "wanda,exchange"]):
        report(*more, *host, "--out", tmp_path / "r", status=2)
    report("--sweep", dense, *host[:4], "--methods", "exchange", "--out", tmp_path / "r", status=2)
    # Before anything runs: no program is in this folder.
    never = report("--sweep", dense, "--host", tmp_path, *host[2:], "--shares", "0.5,0.2", "--steps", "0.3,0.9",
                   "--methods", "wanda growing", "--calibration", tmp_path / "text.npy", "--out", tmp_path / "r",
                   status=1)
    sentence, = never.stderr.splitlines()
    assert "none of the steps 0.3, 0.9 fits a share of 0.2" in sentence and "--steps" in sentence
    failed = report("--equal", dense, *host, "--build", tmp_path, "--out", tmp_path / "r", status=1)
    sentence, = failed.stderr.splitlines()
    assert "sparamx-explain cannot be run" in sentence


@pytest.mark.parametrize("said", ["Final estimate: PPL = nan +/- nan", "Final estimate: PPL = -nan +/- -nan",
                                  "Unexpected negative standard deviation of log(prob)",
                                  "Mean PPL(Q) : inf\nMean KLD: 0.1\nSame top p: 90",
                                  "Mean PPL(Q) : 10.5\nMean KLD: nan\nSame top p: 90"])
def test_a_perplexity_that_is_no_number_is_asked_for_once(tmp_path, said):
    import measures
    host = tmp_path / "llama-perplexity"
    host.write_text(f"#!/bin/sh\necho once >> {tmp_path}/calls\ncat <<'END'\n{said}\nEND\n")
    host.chmod(stat.S_IRWXU)
    more = ["--kl-divergence"] if "KLD" in said else []
    with pytest.raises(measures.Fault, match="m.gguf.*is no number"):
        measures.Host(tmp_path, None, None, 1).perplexity("-m", "m.gguf", *more)
    assert (tmp_path / "calls").read_text() == "once\n"
