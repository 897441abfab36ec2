"""The benchmark: that every column is measured, and what it says of its figures. Never how fast anything is."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT

FOLDER = ROOT / "examples" / "pytorch"
sys.path.insert(0, str(FOLDER))

import bench  # noqa: E402
import measure  # noqa: E402

SMALL = ("--model", "tiny", "--model-layers", "2", "--context", "6", "--new-tokens", "3", "--size", "64",
         "--tokens", "1", "4", "--rounds", "2", "--warmup", "1", "--compile-mode", "eager", "--cores", "1")


def run(*arguments, status=0, **environment):
    done = subprocess.run([sys.executable, str(FOLDER / "bench.py"), *map(str, arguments)], capture_output=True,
                          text=True, env=os.environ | environment)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def test_every_column(tmp_path):
    shown, _ = run(*SMALL, "--reference", "--batches", 2, "--json", tmp_path / "bench.json")
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["text"].keys() == {"2"} and found["machine"]["cpu"] in shown and found["machine"]["cpus"] == 1
    ours = {f"sparamx {weights} {form}" for weights, form in (("bf16", "dense"), ("bf16", "sparse"), ("q8_0", "dense"),
                                                              ("q8_0", "sparse"), ("q4_0", "sparse"))}
    always = ours | {bench.STOCK, bench.COMPILE, bench.INT8}
    for rows in found["text"].values():
        assert set(rows) == always | {"torchao int8", "torchao int4"}
        for name, row in rows.items():
            assert name in shown
            if name in always:
                assert 0 < row["least"] <= row["most"] and row["prompt"] > 0 and row["token"] > 0, (name, row)
            else:  # measured where it is installed
                assert row.get("total", 0) > 0 or row["failure"]
        assert rows["sparamx q8_0 dense"]["bytes"] < rows["sparamx bf16 dense"]["bytes"]
        assert rows["sparamx bf16 sparse"]["bytes"] < rows["sparamx bf16 dense"]["bytes"]
    for name in always | {"sparamx q4_0 dense"}:
        assert all(found["layers"][name][tokens] > 0 for tokens in ("1", "4")), found["layers"][name]
    assert {"OpenVINO bf16", "OpenVINO int8", "OpenVINO int4"} <= found["layers"].keys()
    if found["machine"]["level"] == "reference":
        assert found["verdicts"] == [shown.strip().splitlines()[-1]] and "says nothing of its speed" in shown


def test_what_is_refused(tmp_path):
    _, said = run(*SMALL, status=2, SPARAMX_LIBRARY=str(tmp_path))
    assert "set SPARAMX_LIBRARY to the folder" in said and len(said.strip().splitlines()) == 1
    for arguments, word in ((("--cores", 9999), "9999 cores"), (("--rounds", 0), "at least 1"),
                            (("--zeros", 1), "zeros"), (("--model", "none", "--reference", "--text"), "neither")):
        shown, said = run(*SMALL, *arguments, status=2)
        assert word in said and len(said.strip().splitlines()) == 1, said


def test_without_avx512_nothing_is_measured(monkeypatch, capsys):
    monkeypatch.setattr(bench.machine, "has_avx512", lambda: False)
    monkeypatch.setattr(bench.machine, "pin", lambda count: None)
    monkeypatch.setattr(sys, "argv", ["bench.py", *SMALL])
    assert bench.main() == 2
    shown, said = capsys.readouterr()
    assert "no AVX-512" in said and not shown


def test_verdicts():
    """Each promise with its own figures, and none without."""
    def row(total, prompt, token):
        return {"total": total, "prompt": prompt, "token": token}

    texts = {"1": {bench.STOCK: row(4, 1, 1), bench.COMPILE: row(1, 1, 1), "sparamx bf16 sparse": row(2, 2, 1),
                   "sparamx bf16 dense": row(3, 1, 2), bench.INT8: {"failure": "gone"}}}
    lines = bench.verdicts(texts, {"sparamx q8_0 sparse": {"1": 1.0}, bench.INT8: {"1": 3.0}}, [1, 4])
    assert lines == [
        f"holds: bf16 sparse against {bench.STOCK}, batch 1, whole: 2.00 times as fast, at least 1.00 wanted",
        f"DOES NOT HOLD: bf16 sparse against {bench.COMPILE}, batch 1, whole: 0.50 times as fast, at least 1.00 wanted",
        "DOES NOT HOLD: bf16 sparse against dense, batch 1, prompt: 0.50 times as fast, at least 0.97 wanted",
        "holds: bf16 sparse against dense, batch 1, token: 2.00 times as fast, at least 0.97 wanted",
        f"holds: q8_0 sparse against {bench.INT8}, 1 token: 3.00 times as fast, at least 1.00 wanted"]
    assert bench.verdicts({}, {}, [1]) == []


def test_rounds_are_interleaved():
    """Every implementation once in each round, forth and back; warm-up is not measured."""
    order = []

    def note(name):
        def build(model):
            model.register_forward_pre_hook(lambda *_: order.append(name))
            return model
        return build

    results = measure.measure(lambda: measure.make_model("tiny"), [measure.Implementation(name, note(name))
                                                                   for name in "abc"],
                              batch=1, context=2, new_tokens=2, rounds=3, warmup=1)
    assert "".join(order[::2]) == "".join(order[1::2]) == "abccbaabccba"
    assert [len(result.rounds) for result in results] == [3, 3, 3]
    assert all(len(timing.tokens) == 1 and len(timing.layers) == 2 for result in results for timing in result.rounds)


def test_models():
    for zeros in (0.0, 0.5):
        model = measure.make_model("tiny", zeros=zeros)
        shares = {name: (value == 0).float().mean().item() for name, value in model.named_parameters()}
        assert all(abs(share - zeros) < 0.01 for name, share in shares.items() if "_proj" in name)
        assert shares["model.embed_tokens.weight"] < 0.01
    with pytest.raises(measure.RefusedError, match="neither"):
        measure.make_model("none")
