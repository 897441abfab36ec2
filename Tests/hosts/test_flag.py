"""llama.cpp with --amx, as examples/llama.cpp/add-amx-flag.py makes it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import build_host
from conftest import ROOT, Host, our_lines
from test_placement import expected_mib, reported_mib

SCRIPT = ROOT / "examples/llama.cpp/add-amx-flag.py"
FILES = ("ggml/src/ggml-cpu/ggml-cpu.cpp", "common/arg.cpp", "tools/llama-bench/llama-bench.cpp")


def edit(root, *arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments, root], capture_output=True, text=True)


def files(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def checkout(tmp_path):
    build_host.build_host("linked")
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(build_host.source_folder() / name, tmp_path / name)
    return tmp_path


def test_applies_twice_and_comes_off(checkout):
    before = files(checkout)
    assert edit(checkout).returncode == 0
    once = files(checkout)
    assert len(once) == len(before) + 8 and all(once[Path(name)] != before[Path(name)] for name in FILES)
    again = edit(checkout)
    assert again.returncode == 0 and "nothing to do" in again.stdout and files(checkout) == once
    assert edit(checkout, "--undo").returncode == 0
    assert files(checkout) == before
    assert "nothing to do" in edit(checkout, "--undo").stdout


@pytest.mark.parametrize("name, text", [(FILES[0], "bufts = []() {"), (FILES[1], '{"--no-host"},'),
                                        (FILES[2], 'arg == "--no-host"')])
def test_refuses_other_source(checkout, name, text):
    path = checkout / name
    assert text in path.read_text()
    path.write_text(path.read_text().replace(text, "something else"))
    before = files(checkout)
    result = edit(checkout)
    assert result.returncode != 0 and "Nothing was changed" in result.stderr
    assert files(checkout) == before


def test_refuses_edited_marks(checkout):
    assert edit(checkout).returncode == 0
    path = checkout / FILES[0]
    path.write_text(path.read_text().replace("// end: libsparamx\n", "", 1))
    before = files(checkout)
    for arguments in ((), ("--undo",)):
        assert edit(checkout, *arguments).returncode != 0
        assert files(checkout) == before


def test_refuses_another_folder(tmp_path):
    result = edit(tmp_path)
    assert result.returncode != 0 and "checkout of llama.cpp" in result.stderr


@pytest.fixture(scope="module")
def flagged():
    return Host("flag")


def perplexity(host, model, text, *arguments, **options):
    return host.must_run("llama-perplexity", "-m", model("bf16"), "-f", text, "-c", 128, "--chunks", 2, "-t", 2, "-v",
                         *arguments, plugin=False, **options)


def test_flag(flagged, model, text):
    result = perplexity(flagged, model, text, "--amx", SPARAMX_LIB=flagged.library)
    log = result.stdout + result.stderr
    assert reported_mib(log) == pytest.approx(expected_mib(model("bf16")), abs=0.006)
    assert ["loaded, with" in line for line in our_lines(result.stderr)] == [True, False]


def test_flag_in_bench(flagged, model):
    result = flagged.must_run("llama-bench", "-m", model("bf16"), "-p", 32, "-n", 0, "-r", 1, "-v", "--amx",
                              plugin=False, SPARAMX_LIB=flagged.library)
    assert reported_mib(result.stderr) > 0


def test_without_flag(flagged, linked, model, text):
    """Nothing of the library, and the tokens of a host without the change."""
    log = perplexity(flagged, model, text, SPARAMX_LIB=flagged.library)
    assert not our_lines(log.stderr) and "SPARAMX model" not in log.stdout + log.stderr
    same = [host.must_run("llama-simple", "-m", model("bf16"), "-n", 50, "words", plugin=False).stdout
            for host in (flagged, linked)]
    assert same[0] == same[1]


def test_flag_without_library(flagged, model, text):
    log = perplexity(flagged, model, text, "--amx", SPARAMX_LIB="/nowhere/libsparamx.so")
    assert len(our_lines(log.stderr)) == 1 and "not used" in our_lines(log.stderr)[0]
    assert "SPARAMX model" not in log.stdout + log.stderr


def test_help_names_the_flag(flagged):
    assert "--amx" in flagged.run("llama-bench", "--help", plugin=False).stdout
    assert "--amx" in flagged.run("llama-perplexity", "--help", plugin=False).stdout
