#!/usr/bin/env python3
"""Writes the generated parts of README.md.

    cmake/readme.py LIBRARY                    the support matrix, from the library's kernel table
    cmake/readme.py LIBRARY --figures A.json   also the figures, from a file of `sparamx-bench --json`
    cmake/readme.py LIBRARY --check            changes nothing, fails if the support matrix is out of date
"""
import argparse
import ctypes
import json
import pathlib
import sys

README = pathlib.Path(__file__).resolve().parent.parent / "README.md"
TYPES = {1: "F16", 8: "Q8_0", 30: "BF16"}
FORMS = {1: "dense", 2: "sparse"}
LEVELS = ["reference", "avx512", "amx"]
NO_LIMIT = 2**63 - 1


class KernelInfo(ctypes.Structure):
    """sparamx_kernel_info of sparamx.h."""
    _fields_ = [("size", ctypes.c_uint32), ("isa", ctypes.c_int32), ("type", ctypes.c_int32), ("form", ctypes.c_int32),
                ("m_min", ctypes.c_int64), ("m_max", ctypes.c_int64), ("m_plan", ctypes.c_int64),
                ("exact", ctypes.c_int32), ("usable", ctypes.c_int32), ("name", ctypes.c_char_p)]


def kernel_table(path):
    library = ctypes.CDLL(str(pathlib.Path(path).resolve()))
    rows = []
    for index in range(library.sparamx_kernel_count()):
        info = KernelInfo(size=ctypes.sizeof(KernelInfo))
        if library.sparamx_kernel_get(index, ctypes.byref(info)) != 0:
            sys.exit(f"sparamx_kernel_get({index}) failed")
        rows.append(info)
    return rows


def plan(rows, kind, form, level, tokens):
    """The kernel that a machine of this level uses: the last row that fits, as sparamx.h says."""
    fitting = [r for r in rows if (r.type, r.form) == (kind, form) and r.isa <= level
               and r.m_min <= tokens <= r.m_max and r.m_plan <= tokens]
    return fitting[-1].name.decode() if fitting else None


def ranges(rows, kind, form, level):
    """Ranges of tokens with their kernels. One kernel per number of tokens (-m1, -m2, ...) counts as one."""
    found = []
    for tokens in range(1, 515):
        name = plan(rows, kind, form, level, tokens)
        short = name.split("-", 3)[0] + " " + ("-".join(name.split("-")[3:]).rstrip("1234") or "scalar")
        if short.endswith(" m"):
            short = short[:-2] + " decode"
        if found and found[-1][2] == short:
            found[-1][1] = tokens
        else:
            found.append([tokens, tokens, short])
    found[-1][1] = None
    return ", ".join(f"{name} {a}{'' if b == a else ' and more' if b is None else f'-{b}'}" if len(found) > 1 else name
                     for a, b, name in found)


def support_matrix(rows):
    lines = ["| type | form | AMX machine: kernel and tokens | AVX-512 machine | any x86-64 |", "|---|---|---|---|---|"]
    for kind in sorted(TYPES, key=lambda t: TYPES[t]):
        for form in FORMS:
            cells = [ranges(rows, kind, form, level) for level in (2, 1, 0)]
            lines.append(f"| {TYPES[kind]} | {FORMS[form]} | " + " | ".join(cells) + " |")
    return lines


def figures(path):
    data = json.loads(pathlib.Path(path).read_text())
    machine = data["machine"]
    amx = machine.get("amx_bf16_tflops")
    vector = machine.get("avx512_bf16_tflops")
    what = (f"{machine['cpu']}, level {machine['isa']}, {machine['threads']} threads; read bandwidth "
            f"{machine['read_gbps']:.1f} GB/s, AMX bf16 "
            + (f"{amx:.2f} TFLOPS" if amx else "not on this machine")
            + (f", AVX-512 bf16 {vector:.2f} TFLOPS" if vector else "") + ". Medians.")
    lines = [what, "", "| type | form | zeros | M | N x K | ms | GB/s | of read bandwidth | TFLOPS | of AMX | of AVX-512 |",
             "|---|---|---|---|---|---|---|---|---|---|---|"]

    def share(value):
        return f"{value:.2f}" if value is not None else "-"
    for r in data["rows"]:
        lines.append(f"| {r['type'].upper()} | {r['form']} | {r['sparsity'] * 100:.0f}% | {r['M']} | {r['N']}x{r['K']} | "
                     f"{r['ms']:.3f} | {r['gbps']:.1f} | {share(r['read_fraction'])} | {r['tflops']:.2f} | "
                     f"{share(r['amx_fraction'])} | {share(r.get('avx512_fraction'))} |")
    return lines


def replace(text, name, lines):
    begin, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    head, rest = text.split(begin, 1)
    return head + begin + "\n" + "\n".join(lines) + "\n" + end + rest.split(end, 1)[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library")
    parser.add_argument("--figures", metavar="JSON")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    old = README.read_text()
    new = replace(old, "support matrix", support_matrix(kernel_table(options.library)))
    if options.figures:
        new = replace(new, "figures", figures(options.figures))
    if options.check:
        if new != old:
            sys.exit("README.md: the support matrix is out of date; run cmake/readme.py LIBRARY")
        print("README.md: the support matrix is the library's own")
    else:
        README.write_text(new)


if __name__ == "__main__":
    main()
