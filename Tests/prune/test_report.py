"""report.py: its numbers against the file's own, and that its pictures show something."""

import json
import subprocess
import sys
import xml.etree.ElementTree as tree
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from conftest import PRUNE, PRUNED, Type, prune, tensors_of, weights_of

BUILD = PRUNE.parents[1] / "build"


def report(*arguments, status=0):
    command = [sys.executable, PRUNE / "report.py", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == status, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result


def check_picture(folder, name, *texts):
    """The PNG has more than one colour, the SVG is XML and says what it must."""
    pixels = matplotlib.image.imread(folder / f"{name}.png")
    assert pixels.shape[0] > 300 and pixels.shape[1] > 400
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20
    drawn = (folder / f"{name}.svg").read_text()
    tree.fromstring(drawn)
    for text in texts:
        assert f"<!-- {text} -->" in drawn, (name, text)


@pytest.fixture
def pair(tmp_path, model):
    dense = model(Type.Q8_0)
    prune(dense, tmp_path / "pruned.gguf", "--share", 0.75)
    return dense, tmp_path / "pruned.gguf"


def test_zeros(tmp_path, pair):
    out = tmp_path / "report"
    table = report(*pair, "--out", out).stdout
    models = json.loads((out / "report.json").read_text())["models"]
    for path, found in zip(pair, models):
        matrices = {name: tensor for name, tensor in tensors_of(path).items() if len(tensor.shape) == 2}
        assert {m["name"]: (m["zeros"], m["file_bytes"], m["type"]) for m in found["matrices"]} == {
            name: (int((weights_of(t) == 0).sum()), int(t.n_bytes), "Q8_0") for name, t in matrices.items()}
        zeros = sum((weights_of(t) == 0).sum() for t in matrices.values())
        share = zeros / sum(t.n_elements for t in matrices.values())
        assert f"{path.name}" in table and f"{share:.1%}" in table
        # The embedding is not read whole: one row of it is too little to count.
        read = sum(t.n_bytes for name, t in tensors_of(path).items() if "token_embd" not in name)
        assert found["bytes_per_token"] == read
    check_picture(out, "zeros", "attn_q", "ffn_up", "75%")
    check_picture(out, "bytes", "dense", "in", "pruned")


def test_bytes_and_speeds(tmp_path, pair):
    if not (BUILD / "examples/sparamx-run").exists():
        pytest.skip("SKIPPED 1: the library is not built into build/")
    out = tmp_path / "report"
    table = report(*pair, "--build", BUILD, "--out", out).stdout
    assert "MB packed" in table and "predicted t/s" in table
    dense, pruned = json.loads((out / "report.json").read_text())["models"]
    packed = {m["name"]: m["packed_bytes"] for m in pruned["matrices"] if m["packed_bytes"]}
    assert set(PRUNED) < set(packed)
    for m in dense["matrices"]:
        small = m["name"] in packed and packed[m["name"]] < 0.7 * m["packed_bytes"]
        assert small == (m["name"] in PRUNED), m["name"]
    assert pruned["predicted"]["packed"] > pruned["predicted"]["dense"]
    for model in (dense, pruned):
        assert all(value > 0 for value in (*model["predicted"].values(), *model["measured"].values()))
        # On a busy machine the speed of the products is left out, and a sentence says why.
        assert bool(model["measured"]) != bool(model["disturbed"]) and model["disturbed"] in table
    check_picture(out, "bytes", "packed")
    measured = dense["measured"] or pruned["measured"]
    check_picture(out, "speed", "predicted, packed", *(["products, dense"] if measured else []))


def test_faults(tmp_path, pair):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(pair[0].read_bytes()[:3000])
    for arguments in ([broken], [tmp_path / "nowhere"]):
        sentence, = report(*arguments, "--out", tmp_path / "r", status=1).stderr.splitlines()
        assert sentence.startswith("report.py: ") and sentence.endswith(".")
    report("--out", tmp_path / "r", status=2)
    report("--sweep", pair[0], "--out", tmp_path / "r", status=2)
    report(pair[0], "--out", tmp_path / "r", "--methods", "guessing", status=2)
    missing = report(pair[0], "--out", tmp_path / "r", "--host", Path("/nonexistent"), status=1)
    assert "llama-bench" in missing.stderr
