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
    assert once != before and len(once) == len(before) + 4
    again = edit(checkout)
    assert again.returncode == 0 and "nothing to do" in again.stdout and files(checkout) == once
    assert edit(checkout, "--undo").returncode == 0
    assert files(checkout) == before


@pytest.mark.parametrize("name, text", [
    ("ggml/src/ggml.c", "work_size = MAX(work_size, cur);"),
    ("src/llama.cpp", "cparams.min_experts"),
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
    source, flags = checkout / "ggml/src", ["-O1", "-Wall", "-Wextra", f"-I{checkout}/ggml/include", f"-I{checkout}/ggml/src", "-pthread"]
    objects = []
    for name, compiler in (("ggml.c", "gcc"), ("ggml-backend.cpp", "g++"), ("ggml-sparamx.cpp", "g++"), ("../../driver.cpp", "g++")):
        objects.append(checkout / (Path(name).stem + ".o"))
        standard = "-std=gnu11" if compiler == "gcc" else "-std=c++17"
        built = subprocess.run([compiler, standard, *flags, "-c", source / name, "-o", objects[-1]], capture_output=True, text=True)
        assert built.returncode == 0, built.stderr
    program = checkout / "driver"
    linked = subprocess.run(["g++", *objects, "-o", program, "-pthread", "-ldl"], capture_output=True, text=True)
    assert linked.returncode == 0, linked.stderr

    on = subprocess.run([program, "on"], env=clean_environment(SPARAMX_ENABLE=1, SPARAMX_LIB=find_library()), capture_output=True, text=True)
    assert on.returncode == 0, on.stderr
    off = subprocess.run([program, "off"], env=clean_environment(SPARAMX_LIB=find_library()), capture_output=True, text=True)
    assert (off.returncode, off.stderr) == (0, "")
    missing = subprocess.run([program, "off"], env=clean_environment(SPARAMX_ENABLE=1, SPARAMX_LIB="/nowhere.so"), capture_output=True, text=True)
    assert missing.returncode == 0 and missing.stderr.count("\n") == 1
