"""The package as it is shipped."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from conftest import BUILD, ROOT

PACKAGE = ROOT / "examples" / "pytorch"


def run(*command, **more):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_ruff():
    run(sys.executable, "-m", "ruff", "check", "--no-cache", PACKAGE)


def test_mypy(tmp_path):
    run(sys.executable, "-m", "mypy", "--cache-dir", tmp_path, "--config-file", PACKAGE / "pyproject.toml",
        PACKAGE / "sparamx", *sorted(PACKAGE.glob("*.py")), cwd=PACKAGE)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Made by the documented command."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    print(run("cmake", "--build", BUILD, "--target", "wheel", env=environment))
    return next(BUILD.glob("sparamx-*.whl"))


def test_wheel_is_what_its_name_says(wheel):
    assert wheel.name.startswith("sparamx-") and "-py3-none-manylinux_2_" in wheel.name
    shown = run(sys.executable, "-m", "auditwheel", "show", wheel)
    assert f'"{wheel.stem.split("-")[-1]}"' in shown.replace("\n", " "), shown


def test_wheel_in_a_fresh_environment(wheel, tmp_path):
    """Installed alone: PyTorch is that of these tests."""
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel)
    environment = {name: value for name, value in os.environ.items() if name != "SPARAMX_LIBRARY"}
    environment["PYTHONPATH"] = sysconfig.get_paths()["purelib"]
    program = ("import torch, sparamx; m = torch.nn.Sequential(torch.nn.Linear(64, 8)); "
               "print(sparamx.replace_linears(m, 'q8_0', reference=True)); print(m(torch.ones(2, 64)).shape, "
               "sparamx.__file__)")
    shown = run(python, "-c", program, env=environment, cwd=tmp_path)
    assert "1 of 1 are packed" in shown and str(tmp_path / "venv") in shown and "torch.Size([2, 8])" in shown


def test_a_library_that_cannot_be_loaded(tmp_path):
    program = "import sparamx; sparamx.capability()"
    environment = os.environ | {"SPARAMX_LIBRARY": str(tmp_path), "PYTHONPATH": str(PACKAGE)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode != 0 and "SPARAMX_LIBRARY to the folder" in done.stderr


def test_versions_agree():
    header = (ROOT / "include" / "sparamx.h").read_text()
    version = (PACKAGE / "sparamx" / "version.py").read_text()
    number = header.split('SPARAMX_VERSION_STRING "')[1].split('"')[0]
    assert f'"{number}"' in version


def test_structs_are_those_of_the_header(tmp_path):
    """Sizes and offsets of every field, by the C compiler."""
    import ctypes

    from sparamx import structs

    lines, wanted = [], []
    for name, c_name in (("Capability", "sparamx_capability"), ("LinearOptions", "sparamx_linear_options"),
                         ("LinearCall", "sparamx_linear_call"), ("KernelRange", "sparamx_kernel_range"),
                         ("TensorInfo", "sparamx_tensor_info")):
        struct = getattr(structs, name)
        for field, *_ in struct._fields_:
            lines.append(f'printf("{name}.{field} %zu %zu\\n", offsetof({c_name}, {field}), '
                         f"sizeof((({c_name} *)0)->{field}));")
            wanted.append(f"{name}.{field} {getattr(struct, field).offset} {getattr(struct, field).size}")
        if name != "TensorInfo":  # which may have grown at its end
            lines.append(f'printf("{name} %zu\\n", sizeof({c_name}));')
            wanted.append(f"{name} {ctypes.sizeof(struct)}")
    source = tmp_path / "layout.c"
    source.write_text("#include <sparamx.h>\n#include <stdio.h>\nint main(void) {\n" + "\n".join(lines) + "\n}\n")
    run("cc", "-I", ROOT / "include", "-o", tmp_path / "layout", source)
    assert run(tmp_path / "layout").splitlines() == wanted
