"""The mock host, compiled in several ways, and scripts for it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "examples" / "llama.cpp" / "plugin"
sys.path.insert(0, str(ROOT / "examples" / "prune"))
from gram import Grams  # noqa: E402

WAYS = {
    "usual": [],
    # As on a CPU that has neither AVX2 nor AVX-512.
    "sse2": ["-D__builtin_cpu_supports(name)=false"],
    "address": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "thread": ["-fsanitize=thread"],
}


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """programs(way): the host's file."""
    made = {}

    def make(way):
        if way not in made:
            file = tmp_path_factory.mktemp("host") / way
            sources = [Path(__file__).parent / "host.cpp", PLUGIN / "collect.cpp", *PLUGIN.glob("collect/*.cpp")]
            command = ["g++", "-std=gnu++17", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-DSPARAMX_GGML_PLUGIN",
                       f"-I{Path(__file__).parent / 'mock'}", f"-I{PLUGIN}", f"-I{ROOT / 'include'}", *WAYS[way],
                       *sources, "-o", file, "-ldl", "-lpthread"]
            result = subprocess.run(list(map(str, command)), capture_output=True, text=True)
            assert result.returncode == 0, result.stderr
            made[way] = file
        return made[way]
    return make


class Session:
    """One file, and the processes that write it."""

    def __init__(self, programs, folder, way="usual"):
        self.program, self.folder, self.file = programs(way), folder, folder / "out" / "grams.safetensors"
        self.file.parent.mkdir()
        self.n_arrays = 0

    def array(self, array):
        """The line's word for an array: its file."""
        self.n_arrays += 1
        path = self.folder / f"{self.n_arrays}.bin"
        path.write_bytes(np.ascontiguousarray(array).tobytes())
        return path

    def x(self, number, array):
        """A script's line for activations, (rows, K) or (more, rows, K)."""
        shape = array.shape[::-1] + (1,) * (3 - array.ndim)
        return f"x {number} {' '.join(map(str, shape))} {self.array(array.astype(np.float32))}"

    def ids(self, number, array):
        return f"ids {number} {array.shape[1]} {array.shape[0]} {self.array(array.astype(np.int32))}"

    def run(self, lines, status=0, prefix=(), **environment):
        """What the host says about collecting."""
        script = self.folder / "script"
        script.write_text("\n".join(lines) + "\n")
        variables = {name: value for name, value in os.environ.items() if not name.startswith("SPARAMX_")}
        variables |= {"SPARAMX_COLLECT": self.file, **environment}
        result = subprocess.run([*prefix, self.program, script], capture_output=True, text=True, timeout=300,
                                env={name: str(value) for name, value in variables.items()})
        assert result.returncode == status, (result.returncode, result.stderr)
        said = result.stderr.splitlines()
        assert all(line.startswith("sparamx: ") for line in said), said
        return [line.removeprefix("sparamx: ") for line in said]

    def grams(self):
        return Grams(self.file)

    def left(self):
        """The files beside the one that is written."""
        return sorted(set(os.listdir(self.file.parent)) - {self.file.name})


@pytest.fixture
def session(programs, tmp_path):
    return Session(programs, tmp_path)


def is_close(found, x):
    """found is x^T x, to 1e-5 of the diagonal's scale."""
    x = x.reshape(-1, x.shape[-1]).astype(np.float32).astype(np.float64)
    wanted = x.T @ x
    scale = np.sqrt(np.outer(np.diag(wanted), np.diag(wanted)))
    return found.shape == wanted.shape and (np.abs(found - wanted) <= 1e-5 * scale).all()


def activations(seed, *shape):
    """With a mean, and columns of very different size, as in models."""
    rng = np.random.default_rng(seed)
    return ((rng.normal(size=shape) + 0.3) * np.exp(rng.normal(size=shape[-1]) * 2)).astype(np.float32)
