#!/usr/bin/env python3
"""selftest.py - the model on loops whose cost is known. Last line: "N passed, N failed, N skipped"."""

import sys
import tempfile
from pathlib import Path

import instructions
import model
import numpy as np

COUNT = 4000


def cycles(core, work, text, addresses, rows=0, stride=0):
    """Of COUNT times the same instruction, each at its own address in memory, for one of them."""
    trace = np.zeros(COUNT, dtype=instructions.RECORD)
    trace["ea"] = addresses
    trace["tile"] = rows << 24 | stride
    trace.tofile(work / "trace")
    instructions.table({0: text, 6: "nop"}, work / "trace", work / "table", work)
    return model.run_core(core, work / "table", work / "trace")[0] / COUNT


CASES = (  # what, instruction, bytes from one address to the next, rows of a tile, cycles
    ("dependent FMAs", "vfmadd231ps %zmm1,%zmm2,%zmm0", 0, 0, 4),
    ("multiplications on two ports", "vmulps %zmm1,%zmm2,%zmm0", 0, 0, 0.5),
    ("lines from the second-level cache", "vmovups (%rax),%zmm0", 64, 0, 2.06),
    ("lines from the first-level cache", "vmovups (%rax),%zmm0", 0, 0, 0.5),
    ("products of tiles", "tdpbf16ps %tmm6,%tmm4,%tmm0", 0, 0, 52),
    ("loads of a tile of 16 rows", "tileloadd (%rax,%rcx,1),%tmm4", 0, 16, 8),
    ("loads of a tile of 8 rows", "tileloadd (%rax,%rcx,1),%tmm4", 0, 8, 4),
)


def product_chain(core, work):
    """Products on four tiles of results in turn: their throughput."""
    trace = np.zeros(COUNT, dtype=instructions.RECORD)
    trace["off"] = np.arange(COUNT) % 4 * 5
    trace.tofile(work / "trace")
    listing = {5 * t: f"tdpbf16ps %tmm6,%tmm4,%tmm{t}" for t in range(4)} | {20: "nop"}
    instructions.table(listing, work / "trace", work / "table", work)
    return model.run_core(core, work / "table", work / "trace")[0] / COUNT


def main():
    if not instructions.MCA:
        print("SKIPPED 1: llvm-mca 19 or later is missing (Debian: llvm-19)\n0 passed, 0 failed, 1 skipped")
        return 0
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        core = model.build_core(work)
        found = [(what, cycles(core, work, text, 1 << 20 | np.arange(COUNT) * step, rows, 64), wanted)
                 for what, text, step, rows, wanted in CASES]
        found.append(("products on four tiles", product_chain(core, work), 16))
    for what, got, wanted in found:
        good = abs(got - wanted) <= 0.03 * wanted
        failed += not good
        print(f"{'ok' if good else 'not ok'}: {what}: {got:.2f} cycles each, {wanted} are right")
    print(f"{len(found) - failed} passed, {failed} failed, 0 skipped")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
