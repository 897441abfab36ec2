"""ik_llama.cpp: the script against a mock of the places it looks for, and the adapter in the edited mock."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, clean_environment, find_library

SCRIPT = ROOT / "examples/ik_llama.cpp/add-amx-flag.py"
MOCK = Path(__file__).parent / "ik_mock"


def edit(root, *arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments, root], capture_output=True, text=True)


def files(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def checkout(tmp_path):
    return Path(shutil.copytree(MOCK, tmp_path / "ik"))


def test_applies_twice_and_comes_off(checkout):
    before = files(checkout)
    assert edit(checkout).returncode == 0
    once = files(checkout)
    assert once != before and len(once) == len(before) + 10
    again = edit(checkout)
    assert again.returncode == 0 and "nothing to do" in again.stdout and files(checkout) == once
    assert edit(checkout, "--undo").returncode == 0
    assert files(checkout) == before


@pytest.mark.parametrize("name, text", [
    ("ggml/src/ggml.c", "work_size = MAX(work_size, cur);"),
    ("ggml/src/ggml-backend.cpp", "int src_backend_id"),
    ("src/llama.cpp", "cparams.min_experts"),
    ("src/llama.cpp", "auto get_ctx_for_buft"),
    ("src/llama.cpp", "new_type == GGML_TYPE_COUNT"),
    ("src/llama-build-context.cpp", "lctx.cparams.fused_up_gate"),
    ("common/common.cpp", '"--run-time-repack")'),
])
def test_refuses_other_source(checkout, name, text):
    path = checkout / name
    path.write_text(path.read_text().replace(text, "something_else"))
    before = files(checkout)
    result = edit(checkout)
    assert result.returncode != 0 and "Nothing was changed" in result.stderr and name in result.stderr
    assert files(checkout) == before


def test_refuses_an_ambiguous_place(checkout):
    path = checkout / "src/llama.cpp"
    path.write_text(path.read_text() * 2)
    before = files(checkout)
    assert edit(checkout).returncode != 0
    assert files(checkout) == before


@pytest.mark.parametrize("openmp", [False])
def test_edited_mock_computes(checkout, openmp):
    assert edit(checkout).returncode == 0
    flags = ["-O1", "-Wall", "-Wextra", "-pthread"]
    flags += [f"-I{checkout}/{part}" for part in ("ggml/include", "ggml/src", "src")]
    objects = []
    for name in ("ggml/src/ggml.c", "ggml/src/ggml-backend.cpp", "ggml/src/ggml-sparamx.cpp", "src/llama.cpp",
                 "src/llama-load-tensors.cpp", "src/llama-model-loader.cpp", "driver.cpp"):
        objects.append(checkout / (Path(name).stem + ".o"))
        compiler, standard = ("gcc", "-std=gnu11") if name.endswith(".c") else ("g++", "-std=c++17")
        command = [compiler, standard, *flags, "-c", checkout / name, "-o", objects[-1]]
        built = subprocess.run(command, capture_output=True, text=True)
        assert built.returncode == 0, built.stderr
    program = checkout / "driver"
    command = ["g++", *objects, "-o", program, "-pthread", "-ldl"]
    linked = subprocess.run(command, capture_output=True, text=True)
    assert linked.returncode == 0, linked.stderr

    def run(mode, **variables):
        return subprocess.run([program, mode], env=clean_environment(**variables), capture_output=True, text=True)

    on = run("on", SPARAMX_ENABLE=1, SPARAMX_LIB=find_library(), SPARAMX_REFERENCE=1)
    assert on.returncode == 0, on.stderr
    off = run("off", SPARAMX_LIB=find_library())
    assert (off.returncode, off.stderr) == (0, "")
    missing = run("off", SPARAMX_ENABLE=1, SPARAMX_LIB="/nowhere.so")
    assert missing.returncode == 0 and missing.stderr.count("\n") == 1
    # Another op than a product would read packed bytes: better no answer than a wrong one.
    reads = run("reads", SPARAMX_ENABLE=1, SPARAMX_LIB=find_library(), SPARAMX_REFERENCE=1)
    assert reads.returncode < 0
    assert reads.stderr.splitlines()[-1] == ("sparamx: GET_ROWS reads blk.0.ffn_up.weight, which is packed: "
                                             "SPARAMX_LEAVE=blk.0.ffn_up.weight leaves it to the host")
