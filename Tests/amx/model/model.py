#!/usr/bin/env python3
"""model.sh [--kernels REGEX] [--tokens 1,16,...] [--json FILE] [--table PAGE] [LIBRARY [LIBRARY]]

Says what kernels cost on a core with AMX, by a model (README.md): cycles per row of 64 bytes (quantized types: per 64
weights) and, for gemms, the share of the AMX ceiling. With two libraries also the second's cycles by the first's.
LIBRARY has its symbols: by default build/swift/release/libsparamx.so. --table writes the table into PAGE, between the
marks "model". Status 2: something that it needs is not here.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import assembly
import instructions

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT / "cmake"))
import benchmarks  # noqa: E402  the kernel table and the marks

COMMON = ROOT / "examples" / "common"
KERNELS = r"^amx-(bf16|f16|q8_0|q4_0|q4_k|q6_k)-(dense|sparse)-(ring|gemm)$"
K, SPARSITY, TDP, LIMIT = 2048, 0.5, 16, 600
ROW_OF_32 = {"bf16", "f16"}


def need(condition, sentence):
    if not condition:
        print(f"model: {sentence}", file=sys.stderr)
        sys.exit(2)


def command(arguments, **more):
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, timeout=LIMIT, check=False,
                          **more)
    if done.returncode != 0:
        raise RuntimeError(f"{Path(str(arguments[0])).name}: {done.stderr.strip()[-500:] or done.returncode}")
    return done.stdout


def build_core(work):
    core = work / "core"
    command([os.environ.get("CXX", "c++"), "-O2", "-std=c++17", "-Wall", "-Wextra", "-Werror", HERE / "core.cpp", "-o",
             core])
    return core


def run_core(core, table, trace, *options):
    """Cycles, and what was counted."""
    text = command([core, table, trace, *options])
    counts = {name: float(n) for name, n in re.findall(r"(ins|tdp) (\d+)", text)}
    return float(re.search(r"^cycles (\d+)", text, re.MULTILINE)[1]), counts


class Library:
    """A library that can be traced: its copy for the emulator, its instructions, its functions."""

    def __init__(self, path, work):
        need(path.is_file(), f"there is no {path}")
        self.folder = work / f"library{len(list(work.glob('library*')))}"
        command([ROOT / "Tests/emulator/build.sh", self.folder, path])
        self.offsets = {}
        for line in command(["nm", path]).splitlines():
            if len(fields := line.split()) == 3:
                self.offsets[fields[2]] = fields[0]
        need(any(n.startswith("sx_amx_") for n in self.offsets), f"{path} has no symbols; the one before strip has")
        self.kernels = benchmarks.kernel_table(path)
        self.listing = assembly.disassemble(path)
        self.call = self.folder / "call"
        sources = [*COMMON.glob("gguf*.c"), *COMMON.glob("quants*.c"), COMMON / "pruned.c", COMMON / "text.c"]
        command([os.environ.get("CC", "cc"), "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror",
                 f"-I{ROOT / 'include'}", f"-I{ROOT / 'examples'}",
                 f"-I{ROOT / 'Tests/emulator/interpreter/include'}", HERE / "call.c", *sources,
                 self.folder / "emulated/libsparamx.emulated.so", "-ldl", "-lm", "-o", self.call])

    def trace(self, kernel, tokens, rows, target):
        name = kernel.name.decode()
        environment = os.environ | {"SPARAMX_INTERPRET": "1", "LD_PRELOAD": "libtile-emulator.so",
                                    "LD_LIBRARY_PATH": f"{self.folder / 'emulated'}:{self.folder}"}
        offset = self.offsets["sx_" + name.replace("-", "_")]
        command([self.call, kernel.type, kernel.form, name, offset, tokens, rows, K, SPARSITY, target], env=environment)


def cost(library, kernel, tokens, core, work):
    name = kernel.name.decode()
    wide = name.split("-")[1] in ROW_OF_32
    n = 128 if wide else 64
    trace, table = work / "trace", work / "table"
    library.trace(kernel, tokens, n, trace)
    instructions.table(library.listing, trace, table, work)
    gemm = name.endswith("gemm")
    cycles, counts = run_core(core, table, trace, *(["plru=1"] if gemm else []))
    return {"kernel": name, "M": tokens, "N": n, "K": K, "cycles": cycles, "instructions": counts["ins"],
            "per_row": cycles / (n * K / (32 if wide else 64)),
            "share": TDP * counts["tdp"] / cycles if gemm and counts["tdp"] else None}


def cell(row):
    """Cycles of a ring, share of a gemm; in brackets those of the first of two libraries."""
    if row is None:
        return "-"
    before = row["cycles"] / row["before"] if "before" in row else None
    if row["share"]:
        return f"{row['share']:.2f}" + (f" ({row['share'] * before:.2f})" if before else "")
    return f"{row['per_row']:.1f}" + (f" ({row['per_row'] / before:.1f})" if before else "")


def lines_of(rows):
    """A row for each kernel, a column for each number of tokens; rings and gemms apart, for their numbers differ."""
    lines = []
    for what, rings in (("cycles per row", True), ("share of the ceiling", False)):
        chosen = [r for r in rows if (r["share"] is None) == rings]
        tokens = sorted({r["M"] for r in chosen})
        found = {(r["kernel"], r["M"]): r for r in chosen}
        if not chosen:
            continue
        lines += [""] if lines else []
        lines += [f"| {what} | " + " | ".join(f"M={m}" for m in tokens) + " |", "|---" * (len(tokens) + 1) + "|"]
        for kernel in dict.fromkeys(r["kernel"] for r in chosen):
            lines.append(f"| {kernel} | " + " | ".join(cell(found.get((kernel, m))) for m in tokens) + " |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", default=KERNELS, metavar="REGEX")
    parser.add_argument("--tokens", default="1,4,16,17,32,64,128,512")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--table", type=Path, metavar="PAGE")
    parser.add_argument("libraries", nargs="*", type=Path, metavar="LIBRARY")
    args = parser.parse_args()
    need(re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", args.tokens), "--tokens takes numbers with commas between them")
    need(len(args.libraries) < 3, "one library, or two to compare")
    need(instructions.MCA, "llvm-mca 19 or later is missing (Debian: llvm-19)")
    need(Path("/usr/include/Zydis/Zydis.h").exists(), "Zydis is missing (Debian: libzydis-dev)")
    need("avx512f" not in Path("/proc/cpuinfo").read_text(), "the interpreter takes no trace on a CPU with AVX-512")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        core = build_core(work)
        libraries = [Library(p, work) for p in args.libraries or [ROOT / "build/swift/release/libsparamx.so"]]
        rows, failed = [], 0
        for kernel in libraries[-1].kernels:
            if not re.search(args.kernels, kernel.name.decode()):
                continue
            for tokens in map(int, args.tokens.split(",")):
                if not kernel.m_min <= tokens <= kernel.m_max or (kernel.name.endswith(b"gemm") and tokens <= 32):
                    continue
                try:
                    row = cost(libraries[-1], kernel, tokens, core, work)
                    if len(libraries) == 2:
                        row["before"] = cost(libraries[0], kernel, tokens, core, work)["cycles"]
                    rows.append(row)
                except (RuntimeError, subprocess.TimeoutExpired) as error:
                    failed = 1
                    print(f"model: {kernel.name.decode()} M={tokens}: {error}", file=sys.stderr)
    need(rows or failed, "no kernel fits --kernels and --tokens")
    print("\n".join(lines_of(rows)))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    if args.table and not failed:
        args.table.write_text(benchmarks.replace(args.table.read_text(), "model", ["", *lines_of(rows), ""]))
    return failed


if __name__ == "__main__":
    sys.exit(main())
