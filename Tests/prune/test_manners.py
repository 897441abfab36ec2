"""What the programs say and leave behind: names that nobody may choose for a terminal, signals, advice, empty
tensors."""

import json
import os
import re
import signal
import struct
import subprocess
import sys
import time

import gguf
import numpy as np
import pytest

from conftest import PRUNE, PRUNED, Type, prune, random_tensors, refused, run, tensors_of, weights_of, write_model

ESCAPE = "blk.0.ffn_up.weight\x1b[31m\x07\nred\u202e"
COMMAND = [sys.executable, PRUNE / "prune.py"]


def is_plain(text):
    return all(c.isprintable() or c == "\n" for c in text)


def test_names_cannot_drive_the_terminal(tmp_path):
    tensors = {**random_tensors(), ESCAPE: np.ones((4, 256), dtype=np.float32)}
    before = write_model(tmp_path / "in.gguf", tensors, Type.BF16)
    out = prune(before, tmp_path / "out.gguf", "--dry-run", "--include", "ffn_up")
    assert is_plain(out) and "\\x1b[31m" in out and len(out.splitlines()) == 4
    odd = write_model(tmp_path / "odd.gguf", {ESCAPE: np.ones((4, 254), dtype=np.float32)}, Type.BF16)
    for arguments in ([odd, tmp_path / "x", "--pattern", "4:8", "--include", "ffn"],
                      [tmp_path / "no\x1b[31m", tmp_path / "x"], [before, tmp_path / "no\x1b[31m" / "x"]):
        assert is_plain(refused(tmp_path / "x", *arguments))
    assert is_plain(run(before, tmp_path / "x", "--include", "(\x1b[31m").stderr)
    prune(before, tmp_path / "name\x1b[31m.gguf")
    assert is_plain(prune(before, tmp_path / "name\x1b[31m.gguf", "--force"))
    result = subprocess.run([sys.executable, PRUNE / "report.py", tmp_path / "name\x1b[31m.gguf", "--out",
                             tmp_path / "r"],
                            capture_output=True, text=True)
    assert result.returncode == 0 and is_plain(result.stdout) and "name" in result.stdout
    result = subprocess.run([sys.executable, PRUNE / "report.py", tmp_path / "no\x1b[31m", "--out", tmp_path / "r"],
                            capture_output=True, text=True)
    assert result.returncode == 1 and is_plain(result.stderr)


def empty_and_scalar(path):
    """One matrix to prune, one tensor with a dimension of 0, one without any dimension."""
    def text(s):
        return struct.pack("<Q", len(s)) + s.encode()
    entries = (text("blk.0.ffn_up.weight") + struct.pack("<IQQIQ", 2, 64, 4, 30, 0)
               + text("blk.0.ffn_down.weight") + struct.pack("<IQQIQ", 2, 64, 0, 30, 512)
               + text("blk.0.ffn_gate.weight") + struct.pack("<IQQIQ", 2, 0, 64, 30, 512)
               + text("scalar") + struct.pack("<IIQ", 0, 0, 512))
    key = text("general.architecture") + struct.pack("<I", 8) + text("llama")
    head = b"GGUF" + struct.pack("<IQQ", 3, 4, 1) + key + entries
    data = np.arange(1, 257, dtype=np.float32).view(np.uint32) >> 16
    path.write_bytes(head + bytes(-len(head) % 32) + data.astype("<u2").tobytes() + bytes(32))
    return path


def test_empty_tensors_and_scalars(tmp_path):
    before = empty_and_scalar(tmp_path / "in.gguf")
    for scope in ("row", "tensor", "model"):
        out = prune(before, tmp_path / "out.gguf", "--scope", scope, "--force")
        assert "1 of 1 matrices" in out and "50.00% now" in out
    assert "no tensor" in refused(tmp_path / "x", before, tmp_path / "x", "--include", "down")
    result = subprocess.run([sys.executable, PRUNE / "report.py", tmp_path / "out.gguf", "--out", tmp_path / "r"],
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_leave_nothing(tmp_path, number):
    heed = lambda: signal.signal(number, signal.SIG_DFL)  # noqa: E731  (a shell's background jobs ignore SIGINT)
    w = np.random.default_rng(1).standard_normal((4096, 2048), dtype=np.float32)
    before = write_model(tmp_path / "in.gguf", {f"blk.{i}.ffn_up.weight": w for i in range(6)}, Type.BF16)
    process = subprocess.Popen([*COMMAND, before, tmp_path / "out.gguf", "--magnitude"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, preexec_fn=heed)
    until = time.monotonic() + 60
    while not list(tmp_path.glob("*.part")) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    assert process.poll() is None, "it was over before the signal"
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (1 if number == signal.SIGINT else -number)
    assert os.listdir(tmp_path) == ["in.gguf"] and "Traceback" not in errors and len(errors.splitlines()) == 1


def test_nohup_is_respected(tmp_path, model):
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    code = ("import os, signal, sys; sys.path.insert(0, sys.argv[1]); import text; text.stop_cleanly(); "
            "os.kill(os.getpid(), signal.SIGHUP); print('alive')")
    result = subprocess.run([sys.executable, "-c", code, PRUNE], capture_output=True, text=True, preexec_fn=ignore)
    assert result.stdout == "alive\n"


def test_a_full_stdout_is_no_success(tmp_path, model):
    before = model()
    for command in ([*COMMAND, before, tmp_path / "out.gguf", "--magnitude"],
                    [*COMMAND, before, tmp_path / "x", "--dry-run"],
                    [sys.executable, PRUNE / "report.py", before, "--out", tmp_path / "r"]):
        with open("/dev/full", "w") as full:
            result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
        assert result.returncode == 1 and len(result.stderr.splitlines()) == 1, result.stderr
        assert "Traceback" not in result.stderr and "Exception" not in result.stderr


def test_it_asks_how_and_says_what_to_expect(tmp_path, model):
    before = model()
    sentence = refused(before, before, tmp_path / "out.gguf", asks=True)
    for word in ("--gram", "--imatrix", "--magnitude", "llama-imatrix", "SmolLM2 135M", "27.6 to 376", "50%"):
        assert word in sentence
    assert "SmolLM2 135M" in prune(before, tmp_path / "out.gguf")
    assert "costs far more" in prune(before, tmp_path / "out.gguf", "--share", "0.7", "--force")
    assert "less than there" in prune(before, tmp_path / "out.gguf", "--share", "0.2", "--force")
    # What cannot ruin a model needs no answer.
    for more in (["--share", "0"], ["--share", "0.05"], ["--dry-run"]):
        result = run(before, tmp_path / "out.gguf", "--force", *more, asks=True)
        assert result.returncode == 0, result.stderr
    quantized = tmp_path / "k.gguf"
    writer = gguf.GGUFWriter(quantized, "llama")
    writer.add_tensor(PRUNED[0], np.zeros((4, 144), dtype=np.uint8), raw_dtype=Type.Q4_K)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert "llama-quantize --allow-requantize IN.gguf BF16.gguf BF16" in refused(before, quantized, tmp_path / "x")


def test_the_nearest_model_by_size(tmp_path):
    import expect
    for weights, name in ((1e6, "SmolLM2 135M"), (3e8, "Gemma 3 270M"), (6e9, "LLaMA-2 7B"),
                          (8e9, "Llama-3.1 8B"), (4e10, "LLaMA-2 70B")):
        assert expect.nearest(weights).name == name
    assert "14.89 by magnitude, to 6.42 with an imatrix" in expect.sentence(7e9, 0.5)
    # What was not measured is left out.
    assert "from 5.85 to 37.8 by magnitude, to 9 with an imatrix." in expect.sentence(8e9, 0.5)
    assert "from 24.3 to 51.2 with an imatrix, to 33.2 with Gram matrices." in expect.sentence(3e8, 0.5)


def test_report_counts_chosen_experts_and_all_files(tmp_path):
    """An eighth of the experts' bytes; the same for a model in two files, named by either."""
    rng = np.random.default_rng(3)
    experts = rng.standard_normal((8, 32, 64), dtype=np.float32)
    tensors = [("token_embd.weight", (64, 64)), ("output.weight", (64, 64))]

    def write(path, names, split=None):
        writer = gguf.GGUFWriter(path, "llama")
        if split in (None, 0):
            writer.add_expert_count(8)
            writer.add_expert_used_count(1)
        if split is not None:
            writer.add_uint16("split.no", split)
            writer.add_uint16("split.count", 2)
        for name, shape in tensors:
            if name in names:
                writer.add_tensor(name, np.ones(shape, dtype=np.float32))
        if "experts" in names:
            writer.add_tensor("blk.0.ffn_up_exps.weight", experts)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    whole = write(tmp_path / "whole.gguf", ("token_embd.weight", "output.weight", "experts"))
    first = write(tmp_path / "m-00001-of-00002.gguf", ("token_embd.weight",), 0)
    second = write(tmp_path / "m-00002-of-00002.gguf", ("output.weight", "experts"), 1)
    for path in (whole, first, second):
        result = subprocess.run([sys.executable, PRUNE / "report.py", path, "--out", tmp_path / "r"],
                                capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        found, = json.loads((tmp_path / "r" / "report.json").read_text())["models"]
        assert found["bytes_per_token"] == 64 * 64 * 4 + experts.nbytes // 8, path
    first.unlink()
    result = subprocess.run([sys.executable, PRUNE / "report.py", second, "--out", tmp_path / "r"], capture_output=True,
                            text=True)
    assert result.returncode == 1 and first.name in result.stderr and re.search(r"\.\n$", result.stderr)


def test_what_was_disturbed_is_not_drawn(tmp_path, model, monkeypatch):
    import measures
    report = measures.count_zeros(model())
    told = {"tensors": [], "machine": {"cpu": "a cpu"}}
    ran = {"totals": {"disturbed": True, "other_cpus": 0.8, "spread": 0.5,
                      "products": [{"dense_tokens_per_s": 1.0, "packed_tokens_per_s": 2.0}]}}

    def call(command, **_):
        if "--json" in command and str(command[0]).endswith("sparamx-run"):
            command[command.index("--json") + 1].write_text(json.dumps(ran))
        return json.dumps(told)
    monkeypatch.setattr(measures, "call", call)
    measures.pack(report, tmp_path)
    assert report.measured == {} and "0.80 CPUs" in report.disturbed
    ran["totals"]["disturbed"] = False
    report.disturbed = ""
    measures.pack(report, tmp_path)
    assert report.measured == {"products, dense": 1.0, "products, packed": 2.0} and report.disturbed == ""


def test_minus_zero_is_cleaned(tmp_path):
    """--share 0 needs no imatrix, and only turns -0 into the type's zero."""
    w = np.random.default_rng(5).standard_normal((48, 256), dtype=np.float32)
    before = write_model(tmp_path / "in.gguf", {PRUNED[0]: w * (np.abs(w) > 0.7)}, Type.BF16)
    assert run(before, tmp_path / "out.gguf", "--share", "0", asks=True).returncode == 0
    found = weights_of(tensors_of(tmp_path / "out.gguf")[PRUNED[0]])
    assert not np.signbit(found[found == 0]).any() and np.array_equal(found, weights_of(tensors_of(before)[PRUNED[0]]))
