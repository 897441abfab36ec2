"""When the library is not asked for, or cannot be used, the host runs as if it had never heard of it."""

import subprocess

import pytest

from conftest import clean_environment, our_lines, steady, without_fast_kernels

PROMPT = "the same words"


def outcome(host, path, **options):
    return host.must_run("llama-simple", "-m", path, "-n", 40, PROMPT, **options)


@pytest.fixture(scope="module")
def untouched(host, model):
    return outcome(host, model("bf16"), plugin=False)


def test_without_the_variable(host, model, untouched):
    """The library's own variables do nothing by themselves."""
    again = outcome(host, model("bf16"), plugin=False, SPARAMX_LIB=host.library, SPARAMX_MODE="inject",
                    SPARAMX_TAKE=".")
    assert again.stdout == untouched.stdout
    assert steady(again.stderr) == steady(untouched.stderr)
    assert not our_lines(again.stderr) and "SPARAMX" not in again.stderr


@pytest.mark.parametrize("case, variables, reason", [
    ("capped", {"SPARAMX_ISA": "reference"}, "SPARAMX_ISA"),
    ("unknown cap", {"SPARAMX_ISA": "fast"}, "SPARAMX_ISA"),
    ("no file", {"SPARAMX_LIB": "/nowhere/libsparamx.so"}, "/nowhere/libsparamx.so"),
    ("other interface", {"SPARAMX_LIB": "libother-abi.so"}, "interface"),
    ("no library", {"SPARAMX_LIB": "libno-library.so"}, "is not libsparamx"),
    ("regular expression", {"SPARAMX_LEAVE": "blk.(0|1)"}, "SPARAMX_LEAVE"),
    ("long pattern", {"SPARAMX_TAKE": "(" * 30000}, "SPARAMX_TAKE"),
    ("unknown word", {"SPARAMX_TIED": "no"}, "SPARAMX_TIED"),
    ("unknown place", {"SPARAMX_NUMA": "far"}, "SPARAMX_NUMA"),
    ("unknown form", {"SPARAMX_FORM": "dense"}, "SPARAMX_FORM"),
    ("unknown mode", {"SPARAMX_MODE": "fast"}, "SPARAMX_MODE"),
    ("capped device", {"SPARAMX_ISA": "reference", "SPARAMX_MODE": "accel"}, "SPARAMX_ISA"),
], ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "")
def test_unusable(host, model, untouched, case, variables, reason):
    if variables.get("SPARAMX_LIB", "").startswith("lib"):
        variables = {"SPARAMX_LIB": host.made / variables["SPARAMX_LIB"]}
    result = outcome(host, model("bf16"), SPARAMX_REFERENCE=None if "SPARAMX_ISA" in variables else 1, **variables)
    lines = our_lines(result.stderr)
    if reason == "SPARAMX_ISA" and "ref" in variables["SPARAMX_ISA"] and without_fast_kernels():
        reason = "no fast kernels here"  # for a cap that changes nothing
    assert len(lines) == 1 and reason in lines[0] and "not used" in lines[0], result.stderr
    assert result.stdout == untouched.stdout
    assert steady(result.stderr) == steady(untouched.stderr)


def test_plugin_for_another_ggml(host, model, untouched):
    result = outcome(host, model("bf16"), plugin=host.made / "libother-version.so")
    assert our_lines(result.stderr) == ["sparamx: not used: the host has ggml 0.25.3, this plugin was built for 0.9.7"]
    assert result.stdout == untouched.stdout


def test_no_plugin_file(host, model, untouched):
    """The host's own line, and no other."""
    if host.kind == "linked":
        result = host.must_run("llama-bench", "-m", model("bf16"), "-p", 8, "-n", 0, "-r", 1,
                               plugin="/nowhere/plugin.so")
    else:
        result = outcome(host, model("bf16"), plugin="/nowhere/plugin.so")
        assert result.stdout == untouched.stdout
    assert sum("/nowhere/plugin.so" in line for line in result.stderr.splitlines()) == 1


def test_preload_in_other_programs(linked):
    """A shell on the way to the host does not notice the plugin."""
    result = subprocess.run(["sh", "-c", "echo fine"], env=clean_environment(LD_PRELOAD=linked.plugin),
                            capture_output=True, text=True)
    assert (result.stdout, result.stderr, result.returncode) == ("fine\n", "", 0)


def test_asked_twice(linked, model):
    """LD_PRELOAD and GGML_BACKEND_PATH together put the buffer type into the list once."""
    result = linked.must_run("llama-bench", "-m", model("bf16"), "-p", 8, "-n", 0, "-r", 1, "-v",
                             LD_PRELOAD=linked.plugin)
    assert sum("loaded, with" in line for line in our_lines(result.stderr)) == 1
