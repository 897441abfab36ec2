"""llama-cpp-python, with the shared libraries of our host in place of the ones that its wheel brings."""

import shutil
import subprocess
import sys

import pytest

import build_host
from conftest import clean_environment, our_lines, reference

PROGRAM = """
import sys
import llama_cpp
if len(sys.argv) > 2:
    from llama_cpp import _ggml
    _ggml.libggml.ggml_backend_load(sys.argv[2].encode())
llama = llama_cpp.Llama(sys.argv[1], n_ctx=256, n_threads=2, seed=1)
print(ascii(llama("some words", max_tokens=40, temperature=0)["choices"][0]["text"]))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory, linked):
    folder = tmp_path_factory.mktemp("python")
    shutil.copytree(build_host.source_folder().parents[1] / "llama_cpp", folder / "llama_cpp")
    (folder / "llama_cpp/lib").mkdir(exist_ok=True)
    for library in linked.bin.glob("*.so*"):
        (folder / "llama_cpp/lib" / library.name).symlink_to(library)
    return folder


def start(package, linked, program, *arguments):
    return subprocess.run([sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True,
                          env=clean_environment(PYTHONPATH=package, SPARAMX_LIB=linked.library, **reference()))


def run(package, linked, *arguments):
    result = start(package, linked, PROGRAM, *arguments)
    assert result.returncode == 0, result.stderr
    return result


def test_one_call(package, linked, model):
    plain = run(package, linked, model("bf16"))
    ours = run(package, linked, model("bf16"), linked.plugin)
    assert ours.stdout == plain.stdout and len(plain.stdout) > 100
    assert not our_lines(plain.stderr) and len(our_lines(ours.stderr)) == 2
    assert "SPARAMX model buffer size" in ours.stderr


def test_too_late(package, linked, model):
    """Loaded after the first model, the plugin says so, and the next model is the host's."""
    program = PROGRAM.replace("if len(sys.argv) > 2:", "llama_cpp.Llama(sys.argv[1], n_ctx=64)\nif len(sys.argv) > 2:")
    result = start(package, linked, program, model("bf16"), linked.plugin)
    assert result.returncode == 0, result.stderr
    assert "loaded too late" in our_lines(result.stderr)[-1]
    assert result.stdout == run(package, linked, model("bf16")).stdout
