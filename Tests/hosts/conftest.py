"""Fixtures: the host in both kinds of build, the plugin, models, and ways to run the host's tools."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import build_host
import models

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "hosts"
TIMEOUT = 900


def find_library():
    named = os.environ.get("SPARAMX_TEST_LIBRARY")
    candidates = [Path(named)] if named else [ROOT / "build/libsparamx.so", ROOT / "build/swift/release/libsparamx.so"]
    for candidate in candidates:
        if candidate.exists():
            return candidate.resolve()
    pytest.exit(f"libsparamx.so is not at {' or '.join(map(str, candidates))}: build it first", returncode=2)


def clean_environment(**more):
    """The environment without anything that names the library, and the given variables."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("SPARAMX_", "GGML_", "LLAMA_", "OMP_")) and name != "LD_PRELOAD"}
    return {**kept, **{name: str(value) for name, value in more.items() if value is not None}}


def without_fast_kernels():
    """The library's own word is not asked: a test that it declines would then prove nothing."""
    return not {"avx512f", "avx512_vbmi2", "avx512_vnni", "avx512_bf16"} <= build_host.cpu_flags()


def reference():
    """The variable without which nothing is taken here. All but speed can be tested with the reference kernels."""
    return {"SPARAMX_REFERENCE": 1} if without_fast_kernels() else {}


class Host:
    """Stock llama.cpp in one kind of build, and the plugin for it."""

    def __init__(self, kind):
        self.kind = kind
        self.bin = build_host.build_host(kind) / "bin"
        self.made = WORK / kind
        configure = ["cmake", "-S", Path(__file__).parent, "-B", self.made, f"-DHOST_BIN={self.bin}",
                     f"-DLLAMA_CPP_SOURCE={build_host.source_folder()}"]
        build = ["nice", "-n", "19", "cmake", "--build", self.made, "--parallel", os.cpu_count() or 1]
        for command in (configure, build):
            result = subprocess.run(list(map(str, command)), capture_output=True, text=True)
            assert result.returncode == 0, result.stdout + result.stderr
            assert "warning:" not in result.stderr, result.stderr
        self.plugin = self.made / "libggml-sparamx.so"
        self.library = find_library()

    def command(self, tool, *arguments, plugin=True, **environment):
        """What runs a tool, with the plugin in the way that the README gives for this kind of build and tool: the
        command and its environment."""
        # OpenMP's threads spin while they wait. Beside other work that makes everything several times slower, and
        # llama-perplexity's log more likely to lose its end.
        environment = {"OMP_WAIT_POLICY": "passive", **environment}
        variables = {"SPARAMX_LIB": self.library, **environment} if plugin else environment
        if "SPARAMX_LIB" in variables:
            variables = {**reference(), **variables}
        arguments = list(map(str, arguments))
        ours = tool in ("host_checks", "collect_checks")
        path = (self.made if ours else self.bin) / tool
        if ours:
            variables["HOST_CHECKS_BACKENDS"] = self.bin
        if plugin:
            file = self.plugin if plugin is True else plugin
            # Tools with their CPU backend linked in ignore GGML_BACKEND_PATH unless they load all backends.
            preload = self.kind.startswith("linked") and tool in ("llama-simple", "llama-server", "llama-completion")
            variables["LD_PRELOAD" if preload else "GGML_BACKEND_PATH"] = file
            if self.kind.startswith("linked") and tool == "llama-perplexity":
                arguments += ["-ot", "nomatch=CPU"]
        if tool in ("llama-perplexity", "llama-completion"):
            preloads = [variables.get("LD_PRELOAD"), self.made / "liblinger.so"]
            variables = {**variables, "LD_PRELOAD": " ".join(str(file) for file in preloads if file)}
        return [path, *arguments], clean_environment(**variables)

    def run(self, tool, *arguments, timeout=TIMEOUT, **options):
        """Runs a tool to its end."""
        command, environment = self.command(tool, *arguments, **options)
        return subprocess.run(command, env=environment, capture_output=True, text=True, errors="backslashreplace",
                              timeout=timeout)

    def check(self, program, *arguments, timeout=120, **environment):
        """One of the programs of this folder that use the plugin's file, or the adapter, by themselves."""
        variables = {"SPARAMX_LIB": self.library, "PLUGIN": self.plugin, "HOST_CHECKS_BACKENDS": self.bin,
                     "SPARAMX_REFERENCE": 1, **environment}
        command = [str(part) for part in (self.made / program, *arguments)]
        return subprocess.run(command, env=clean_environment(**variables), capture_output=True, text=True,
                              errors="backslashreplace", timeout=timeout)

    def must_run(self, tool, *arguments, **options):
        result = self.run(tool, *arguments, **options)
        ends = f"{result.stdout[-2000:]}\n{result.stderr[-4000:]}"
        assert result.returncode == 0, f"{tool} {arguments}: {result.returncode}\n{ends}"
        return result


@pytest.fixture(scope="session", params=["linked", "dynamic"])
def host(request):
    return Host(request.param)


@pytest.fixture(scope="session")
def linked():
    return Host("linked")


@pytest.fixture(scope="session")
def text():
    return models.write_text(WORK / "models" / "text.txt")


def make_model(host, name, kind, sparsity, *more):
    """The file of a tiny model of random weights."""
    def path(prefix, kind):
        return WORK / "models" / f"{prefix}-{kind}-{round(sparsity * 100)}.gguf"
    if kind in models.TYPES:
        return models.make(path(name, kind), kind, sparsity, "--preset", "tiny", *more)
    name = f"{name}-k256"
    source = models.make(path(name, "bf16"), "bf16", sparsity, "--preset", "tiny", *models.QUANTIZER_ROWS, *more)
    return models.quantize(host, source, path(name, kind), kind)


@pytest.fixture(scope="session")
def model(linked):
    """model(type, sparsity): the file of a tiny model."""
    return lambda kind, sparsity=0.5: make_model(linked, "tiny", kind, sparsity)


@pytest.fixture(scope="session")
def moe_model(linked):
    """moe_model(type, sparsity, experts, used): the same as a mixture of experts."""
    def make(kind, sparsity=0.5, experts=8, used=2):
        shape = ("--experts", str(experts), "--experts-used", str(used))
        return make_model(linked, f"moe{experts}-{used}", kind, sparsity, *shape)
    return make


@pytest.fixture(scope="session")
def programs():
    """The example programs that are used here, compiled from their sources."""
    folder, examples = WORK / "examples", ROOT / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for name, main in (("sparamx-explain", []), ("sparamx-run", [examples / "sparamx-run.c"])):
        folders = (examples / name.removeprefix("sparamx-"), examples / "common")
        sources = [*main, *(file for f in folders for file in sorted(f.glob("*.c")))]
        made[name] = folder / name
        command = [shutil.which("cc") or "gcc", "-std=c11", "-O2", f"-I{ROOT / 'include'}", f"-I{examples}", *sources,
                   "-o", made[name], "-lm", "-lpthread", "-ldl"]
        result = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    return made


def explain(programs, path):
    command = [programs["sparamx-explain"], "--json", "--library", find_library(), path]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=clean_environment())
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def our_lines(log):
    """What adapter and plugin print, on lines of their own: first what is loaded, then what was taken. The host's
    logger writes in pieces from a thread of its own, so that a time may stand before them."""
    return re.findall(r"^[^a-z\n]*(sparamx: .*)$", log, re.M)


def steady(log):
    """A log without the plugin's lines and without what differs from run to run: times, rates, addresses."""
    lines = [line for line in log.splitlines()
             if not line.startswith("sparamx:") and "loaded SPARAMX backend" not in line]
    lines = [line for line in lines if not re.search(r"perf|speed:|\bms\b|t/s", line)]
    return [re.sub(r"0x[0-9a-f]+|\d+\.\d+ s", "*", line) for line in lines]
