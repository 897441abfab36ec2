"""The adapter's parts that need no model: names, mapped pages, the dynamic linker, the environment."""

import os
import re
import shutil
import subprocess

import pytest

from conftest import ROOT

PASSED = "all checks passed\n"


@pytest.mark.parametrize("what", ["patterns", "pages", "maps", "numa"])
def test_adapter(linked, what):
    result = linked.check("adapter_checks", what)
    assert result.stdout == PASSED, result.stderr


def test_nothing_is_held_while_the_loader_works(linked):
    """One thread's first call waits for the dynamic linker; the thread inside it makes its own first call."""
    result = linked.check("adapter_checks", "loader", linked.made / "libconstructor.so", timeout=30)
    assert result.stdout == PASSED, result.stderr


def test_no_variable_in_programs_with_more_rights(linked, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a program of another user")
    program = tmp_path / "adapter_checks"
    shutil.copy(linked.made / "adapter_checks", program)
    command = dict(env={"SPARAMX_LIB": "/nowhere/libsparamx.so"}, capture_output=True, text=True)
    tmp_path.chmod(0o755)
    assert "/nowhere" in subprocess.run([program, "environment"], **command).stdout
    os.chown(program, 65534, 65534)
    program.chmod(0o4755)
    assert "/nowhere" not in subprocess.run([program, "environment"], **command).stdout


def test_every_variable_is_in_the_documents(linked):
    """What is read, and by secure_getenv alone."""
    symbols = subprocess.run(["nm", "-D", "--undefined-only", linked.plugin], capture_output=True, text=True,
                             check=True).stdout
    assert re.search(r" secure_getenv\b", symbols) and not re.search(r" getenv\b", symbols)
    sources = [*(ROOT / "include").glob("*.h*"), *(ROOT / "examples/llama.cpp/plugin").glob("*pp"),
               *(ROOT / "examples/ik_llama.cpp").glob("*pp")]
    code = "".join(path.read_text() for path in sources)
    read = set(re.findall(r'(?:variable|\.read)\("(\w+)"\)', code))
    assert {"SPARAMX_LIB", "SPARAMX_TAKE", "SPARAMX_MODE", "SPARAMX_TIED", "SPARAMX_ENABLE", "LD_PRELOAD"} <= read
    assert not re.search(r"\bstd::getenv|[^_]getenv\(", code)
    security = (ROOT / "SECURITY.md").read_text()
    assert [name for name in sorted(read) if name not in security] == []
