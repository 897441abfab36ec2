"""What is run on a machine with AMX, in the order in which it matters most.

Every step is a list of commands. In the short form, on the emulator, each of them is as small as it can be.
"""

import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "cmake"))
import definitions  # noqa: E402  the library's types

TOKENS = (1, 2, 4, 5, 8, 12, 16, 17, 24, 32, 33, 64, 128, 512)
MAIN_TYPES = ("bf16", "f16", "q8_0", "q4_0", "q4_k", "q6_k")  # those that get more time
HOST_TYPES = ("bf16", "q8_0", "q4_0", "q4_k_m", "q6_k")
TESTS = ("emulator", "swift", "abi", "beside", "load")  # those whose code depends on the CPU
# The prototypes' programs, and what each is run with.
PROTOTYPES = {"read_bandwidth": [], "peak2": [], "sp3": [], "gemm4": ["0"], "gemm6": ["0"], "q4amx": ["DA=1"]}


class Unavailable(Exception):
    """A step cannot be run; why."""


@dataclass
class Step:
    name: str
    what: str
    commands: Callable[[], list]
    skip: str = ""
    attempts: int = 1  # more: the command goes on where it was stopped
    environment: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Kernel:
    name: str
    type: str
    form: str
    first: int
    last: int  # 0: no limit


class Plan:
    def __init__(self, root: Path, out: Path, short: bool, amx: bool, prototypes: Path | None):
        self.root, self.out, self.short, self.amx, self.prototypes = root, out, short, amx, prototypes
        self.build = root / "build"
        self.bench = self.build / "examples" / "sparamx-bench"
        self.venv = self.build / "venv-hosts" / "bin" / "python"
        self.emulator = out / "emulator"

    def steps(self) -> list[Step]:
        return [self.build_library(), *self.tests(), self.list_kernels(), self.figures(), *self.kernels(),
                self.break_even(), self.tune(), self.errors(), *self.programs(), self.build_host(), *self.hosts(),
                self.write()]

    # -- the library and its tests -----------------------------------------------------------------------------------

    def build_library(self):
        def commands():
            found = [["cmake", "-S", "cmake", "-B", self.build, "-DCMAKE_BUILD_TYPE=Release"],
                     ["cmake", "--build", self.build, "--parallel", os.cpu_count() or 1]]
            if not self.amx:
                found.append(["Tests/emulator/build.sh", self.emulator, self.build / "libsparamx.so"])
            return found
        return Step("build", "the library and its examples", commands, attempts=3)

    def tests(self):
        if self.short:
            command = ["Tests/abi/run.sh", self.build, self.out / "abi", "tile_state_test"]
            yield Step("tests-abi", "one test of the C interface", lambda: [command],
                       environment={"ABI_QUICK": "1", "SPARAMX_INTERPRET": "1"})
            return
        for part in TESTS:
            yield Step(f"tests-{part}", f"Tests/run.sh {part}, on the CPU's own instructions",
                       lambda part=part: [["Tests/run.sh", part]], environment={"TALLY_LIMIT": "520"})

    # -- products ----------------------------------------------------------------------------------------------------

    def environment(self):
        """On a CPU without AMX: the emulated copy of the library."""
        if self.amx:
            return {}
        return {"SPARAMX_INTERPRET": "1", "LD_PRELOAD": "libtile-emulator.so",
                "LD_LIBRARY_PATH": f"{self.emulator / 'emulated'}:{self.emulator}"}

    def measure(self, name, *arguments):
        if self.short:
            size = ["--shape", "64x512", "--repeat", "1", "--seconds", "1", "--threads", "1"]
        else:
            size = ["--shape", "4096x4096", "--repeat", "7", "--seconds", "20"]
        return [self.bench, *size, *arguments, "--json", self.out / f"{name}.json"]

    def list_kernels(self):
        command = f"exec '{self.bench}' --list > '{self.out / 'kernels.txt'}'"
        return Step("list", "the library's kernels", lambda: [["sh", "-c", command]], environment=self.environment())

    def usable(self) -> list[Kernel]:
        """From what the step before wrote."""
        try:
            lines = (self.out / "kernels.txt").read_text().splitlines()
        except OSError:
            raise Unavailable("the step `list` comes first") from None
        found = []
        for line in lines:
            match = re.fullmatch(r"(\S+)\s+(\S+)\s+(\S+)\s+\S+\s+(\d+)\s+(\d+|any)\s.*\syes", line.rstrip())
            if match and not match[1].startswith("reference"):
                name, kind, form, first, last = match.groups()
                found.append(Kernel(name, kind, form, int(first), 0 if last == "any" else int(last)))
        if not any(kernel.name.startswith("amx") for kernel in found):
            raise Unavailable(f"no AMX kernel is usable: {self.out / 'kernels.txt'} says why")
        return found

    def figures(self):
        if self.short:
            command = self.measure("figures", "--type", "bf16", "--form", "sparse", "--sparsity", "50", "--m", "1,33")
        else:
            command = self.measure("figures", "--type", "bf16,q8_0,q4_0,q4_k,q6_k", "--form", "dense,sparse",
                                   "--sparsity", "50,70", "--m", "1,4,16,32,512", "--repeat", "11", "--seconds", "60")
        return Step("figures", "the table of BENCHMARKS.md", lambda: [command], environment=self.environment())

    def kernels(self):
        """Each kernel forced, wherever it can serve."""
        others = [kind.symbol for kind in definitions.types() if kind.symbol not in MAIN_TYPES]
        for kind in ("bf16", "q4_0") if self.short else (*MAIN_TYPES, *others):
            yield Step(f"kernels-{kind}", "every usable kernel of the type",
                       lambda kind=kind: self.every_kernel(kind), environment=self.environment())

    def every_kernel(self, kind):
        commands = [command for kernel in self.usable() if kernel.type == kind for command in self.forced(kernel)]
        if not commands:
            raise Unavailable(f"no kernel of {kind} is usable: {self.out / 'kernels.txt'} says why")
        return commands

    def forced(self, kernel):
        tokens = [m for m in TOKENS if kernel.first <= m and (kernel.last == 0 or m <= kernel.last)]
        if not tokens:
            return []
        if self.short:
            if not kernel.name.endswith(("-ring", "-m1")):
                return []
            tokens, time = tokens[:1], []
        else:
            time = ["--repeat", "5", "--seconds", "6" if kernel.type in MAIN_TYPES else "2"]
        return [self.measure(f"kernel-{kernel.name}", "--type", kernel.type, "--form", kernel.form, "--sparsity", "50",
                             "--m", ",".join(map(str, tokens)), "--kernel", kernel.name, *time)]

    def break_even(self):
        command = self.measure("break-even", "--break-even", *(["--type", "bf16", "--sparsity", "0,50"]
                                                               if self.short else []))
        return Step("break-even", "from how many zeros on sparse is faster", lambda: [command],
                    environment=self.environment())

    def tune(self):
        """What the machine itself chooses: build/amx/profile.txt."""
        small = ["--type", "q4_0", "--shape", "16x256", "--threads", "1", "--seconds", "1"] if self.short else []
        return Step("tune", "which kernel is fastest, as a profile",
                    lambda: [[self.bench, "--tune", self.out / "profile.txt", *small]], environment=self.environment())

    def errors(self):
        command = [self.bench, "--errors", "--json", self.out / "errors.json",
                   *(["--type", "bf16,q4_0", "--shape", "16x256", "--m", "1"] if self.short else [])]
        return Step("errors", "errors against double precision", lambda: [command], environment=self.environment())

    def programs(self):
        """The prototypes beside the kernels, in the same run of the machine."""
        for name, arguments in PROTOTYPES.items():
            source = self.prototypes / f"{name}.c" if self.prototypes else None
            skip = ("--prototypes is not given" if not source else
                    f"{source} is not there" if not source.exists() else "" if self.amx else "this machine has no AMX")
            program = self.out / name
            yield Step(f"prototype-{name}", "a program that the kernels are compared with",
                       lambda source=source, program=program, arguments=arguments: [
                           ["cc", "-O3", "-march=sapphirerapids", source, "-o", program, "-lpthread", "-lm"],
                           [program, *arguments]], skip=skip)

    # -- engines -----------------------------------------------------------------------------------------------------

    def build_host(self):
        """GCC before 13.3 compiles the host's own AMX code wrongly, so clang builds it."""
        def commands():
            shell = (f". Tests/pytest.sh; make_venv Tests/hosts hosts && cd Tests/hosts && '{self.venv}' -c "
                     "\"import conftest; print(conftest.Host('linked-clang').bin)\" "
                     f"> '{self.out / 'host'}'")
            return [["bash", "-c", shell]]
        return Step("host", "stock llama.cpp, built with clang", commands, attempts=6,
                    skip="the short form needs no host" if self.short else "")

    def hosts(self):
        for kind in HOST_TYPES:
            for zeros in ("0", "0.5"):
                yield self.host(f"host-{kind}-{round(float(zeros) * 100)}", "--types", kind, "--sparsity", zeros)
        yield self.host("host-experts", "--types", "bf16", "--sparsity", "0.5", "--experts", "16")

    def host(self, name, *arguments):
        def commands():
            try:
                folder = (self.out / "host").read_text().strip().splitlines()[-1]
            except (OSError, IndexError):
                raise Unavailable("the step `host` comes first") from None
            plugin = self.build / "hosts" / "linked-clang" / "libggml-sparamx.so"
            return [[self.venv, "examples/llama.cpp/bench.py", "--host", folder, "--plugin", plugin, "--library",
                     self.build / "libsparamx.so", "--rounds", "3", *arguments, "--json", self.out / f"{name}.json"]]
        return Step(name, "llama-bench with and without the plugin", commands,
                    skip="the short form needs no host" if self.short else "")

    # -- the result --------------------------------------------------------------------------------------------------

    def write(self):
        def commands():
            collected = [sys.executable, "Tests/amx/collect.py", self.out, self.out / "amx.json"]
            if self.short:
                return [collected, [*collected, "--table", self.out / "table.md"]]
            return [collected, [*collected, "--table", "BENCHMARKS.md"],
                    [sys.executable, "cmake/benchmarks.py", self.build / "libsparamx.so", "--figures",
                     self.out / "figures.json", "--errors", self.out / "errors.json", "--break-even",
                     self.out / "break-even.json"]]
        return Step("write", "amx.json and the tables of BENCHMARKS.md", commands)
