"""Reads types.def and kernels.def, which say what types of weights and what kernels there are."""
import pathlib
import re
from typing import NamedTuple

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "Sources/CKernelABI/include"
FORMS = {"DENSE": ("dense",), "BOTH": ("dense", "sparse"), "CODED": ("dense", "sparse", "coded", "coded_sparse")}


class Type(NamedTuple):
    """A row of types.def."""
    name: str      # as in GGUF: Q4_0
    symbol: str    # as in names of kernels: q4_0
    number: int
    kernels: str   # the list of kernels.def
    forms: tuple   # of FORMS
    numbers: tuple # of a quantized type: what else its row has; empty for BF16 and F16

    @property
    def quantized(self):
        return bool(self.numbers)


class Kernel(NamedTuple):
    """A row of a list of kernels.def."""
    level: str     # reference, avx512, amx
    name: str


def types():
    found = []
    for kind, row in re.findall(r"^SX_(WIDE|QUANT)\((.*)\)$", (FOLDER / "types.def").read_text(), re.M):
        name, symbol, number, *rest = (cell.strip() for cell in row.split(","))
        forms = FORMS[rest[-1]]
        kernels = name if kind == "WIDE" else f"PARTS_OF_{rest[4]}"
        found.append(Type(name, symbol, int(number), kernels, forms, tuple(rest[:-1])))
    return found


def kernels():
    """{list: its rows}"""
    lists, current = {}, None
    for line in (FOLDER / "kernels.def").read_text().splitlines():
        if begins := re.match(r"#define SX_KERNELS_(\w+)\(", line):
            current = lists.setdefault(begins[1], [])
        elif row := re.match(r"\s+ROW\((\w+),\s*(\w+),", line):
            current.append(Kernel(row[1].lower(), row[2]))
    return lists
