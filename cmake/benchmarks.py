#!/usr/bin/env python3
"""Writes the generated parts of BENCHMARKS.md, and the table of break-even points of examples/prune/README.md.

    cmake/benchmarks.py LIBRARY                      the support matrix, from the library's kernel table
    cmake/benchmarks.py LIBRARY --figures A.json     also the figures, from a file of `sparamx-bench --json`
    cmake/benchmarks.py LIBRARY --errors B.json      also the errors, from a file of `sparamx-bench --errors --json`
    cmake/benchmarks.py LIBRARY --break-even C.json  also the break-even points, of `sparamx-bench --break-even --json`
    cmake/benchmarks.py LIBRARY --check              changes nothing; fails if the support matrix is out of date, or if
                                                     the table of errors has other types than the library
"""
import argparse
import ctypes
import json
import pathlib
import sys
import textwrap

import definitions

PAGE = pathlib.Path(__file__).resolve().parent.parent / "BENCHMARKS.md"
GUIDE = PAGE.parent / "examples/prune/README.md"
WIDTH = 120  # of a line of text
TYPES = {kind.number: kind.name for kind in definitions.types()}
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
        if name is None:
            sys.exit(f"no kernel for {TYPES[kind]} {FORMS[form]} at level {LEVELS[level]} with {tokens} tokens")
        short = name.split("-", 3)[0] + " " + ("-".join(name.split("-")[3:]).rstrip("0123456789") or "scalar")
        if short.endswith(" m"):
            short = short[:-2] + " decode"
        if found and found[-1][2] == short:
            found[-1][1] = tokens
        else:
            found.append([tokens, tokens, short])
    found[-1][1] = None
    return ", ".join(f"{name} {a}{'' if b == a else ' and more' if b is None else f'-{b}'}" if len(found) > 1 else name
                     for a, b, name in found)


def known_types(rows):
    """The types of the kernel table, in the order of the tables."""
    unknown = {r.type for r in rows} - TYPES.keys()
    if unknown:
        sys.exit(f"the library has kernels for tensor types that types.def does not know: {sorted(unknown)}")
    return [kind for kind in TYPES if any(r.type == kind for r in rows)]


def support_matrix(rows):
    """A table for the types that the same kernels serve; forms and machines that are served alike share a line."""
    groups = {}
    for kind in known_types(rows):
        cells = tuple(tuple(ranges(rows, kind, form, level) for level in (2, 1, 0)) for form in FORMS
                      if any((r.type, r.form) == (kind, form) for r in rows))
        groups.setdefault(cells, []).append(TYPES[kind])
    lines = []
    for cells, names in groups.items():
        lines += ["", *textwrap.wrap(f"**{', '.join(names)}**", WIDTH), "",
                  "| machine | form | kernel and the number of tokens that it serves |", "|---|---|---|"]
        for index, machine in enumerate(["AMX", "AVX-512", "any x86-64"]):
            served = {}
            for form, line in zip(FORMS.values(), cells):
                served.setdefault(line[index], []).append(form)
            lines += [f"| {machine} | {', '.join(forms)} | {kernels} |" for kernels, forms in served.items()]
    return lines[1:]


def errors(path):
    data = json.loads(pathlib.Path(path).read_text())
    machine, rows = data["machine"], data["errors"]
    tokens = sorted({r["M"] for r in rows})
    shape = rows[0]
    heads = [f"M={m}: {what}" for m in tokens for what in ("dense", "sparse", "ggml's")]
    text = (f"NMSE against double precision, {shape['N']}x{shape['K']}, {shape['sparsity'] * 100:.0f}% zeros, level "
            f"{machine['isa']}; ggml's: exact products of activations as ggml's CPU backend rounds them.")
    lines = [*textwrap.wrap(text, WIDTH), "",
             "| type | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    for name in TYPES.values():
        found = {(r["M"], r["form"]): r for r in rows if r["type"].upper() == name}
        if not found:
            continue
        cells = []
        for m in tokens:
            cells += [f"{found[m, form]['nmse']:.1e}" if (m, form) in found else "-" for form in FORMS.values()]
            cells.append(f"{found[m, 'dense']['ggml_nmse']:.1e}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def types_in_errors(text):
    """The types that the page's table of errors lists."""
    part = text.split("<!-- errors -->", 1)[1].split("<!-- end errors -->", 1)[0]
    return {line.split("|")[1].strip() for line in part.splitlines() if line.startswith("| ")} - {"type"}


def figures(path):
    """A line for each weight, a column for each number of tokens."""
    data = json.loads(pathlib.Path(path).read_text())
    machine, rows = data["machine"], data["rows"]
    amx, vector = machine.get("amx_bf16_tflops"), machine.get("avx512_bf16_tflops")
    ceiling, share_of_it = ("AMX", "amx_fraction") if amx else ("AVX-512", "avx512_fraction")
    shapes = sorted({(r["N"], r["K"]) for r in rows})
    tokens = sorted({r["M"] for r in rows})
    vector_text = f", AVX-512 bf16 {vector:.2f} TFLOPS" if vector else ""
    text = (f"{machine['cpu']}, level {machine['isa']}, {machine['threads']} threads; read bandwidth "
            f"{machine['read_gbps']:.1f} GB/s, AMX bf16 " + (f"{amx:.2f} TFLOPS" if amx else "not on this machine")
            + f"{vector_text}. N x K: {', '.join(f'{n}x{k}' for n, k in shapes)}. Medians: up to 32 tokens, ms and "
            f"share of the read bandwidth over the packed bytes; more, TFLOPS and share of {ceiling} bf16.")
    lines = [*textwrap.wrap(text, WIDTH), "",
             "| type | form | zeros | bits per weight |" + "".join(f" M={m} |" for m in tokens),
             "|---|---|---|---|" + "---|" * len(tokens)]

    def cell(r):
        if r["M"] <= 32:
            speed, share = f"{r['ms']:.3f}", r["read_fraction"]
        else:
            speed, share = f"{r['tflops']:.2f}", r[share_of_it]
        return f"{speed} ({share:.0%})" if share is not None else speed

    weights, dense = {}, set()
    for r in rows:
        # A dense tensor does not care for its zeros: the first share of them will do.
        kind = r["type"], r["M"], r["N"], r["K"]
        if r["form"] == "dense" and kind in dense:
            continue
        if r["form"] == "dense":
            dense.add(kind)
        weights.setdefault((r["type"].upper(), r["form"], r["sparsity"], r["N"], r["K"]), {})[r["M"]] = r
    for (name, form, zeros, n, k), found in weights.items():
        label = f"{name} {n}x{k}" if len(shapes) > 1 else name
        bits = next(iter(found.values()))["bits_per_weight"]
        cells = [label, form, "any" if form == "dense" else f"{zeros:.0%}", f"{bits:.2f}"]
        cells += [cell(found[m]) if m in found else "-" for m in tokens]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def break_even(path):
    data = json.loads(pathlib.Path(path).read_text())
    lines = ["| type | zeros |", "|---|---|"]
    for r in sorted(data["break_even"], key=lambda r: list(TYPES.values()).index(r["type"].upper())):
        found = r["sparsity"]
        lines.append(f"| {r['type'].upper()} | {f'{found:.0%}' if found is not None else 'none of those measured'} |")
    return lines


def replace(text, name, lines):
    begin, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    head, rest = text.split(begin, 1)
    return head + begin + "\n" + "\n".join(lines) + "\n" + end + rest.split(end, 1)[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library")
    parser.add_argument("--figures", metavar="JSON")
    parser.add_argument("--errors", metavar="JSON")
    parser.add_argument("--break-even", metavar="JSON")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    old = PAGE.read_text()
    rows = kernel_table(options.library)
    new = replace(old, "support matrix", support_matrix(rows))
    if options.figures:
        new = replace(new, "figures", figures(options.figures))
    if options.errors:
        new = replace(new, "errors", errors(options.errors))
    if options.check:
        if new != old:
            sys.exit("BENCHMARKS.md: the support matrix is out of date; run cmake/benchmarks.py LIBRARY")
        differing = types_in_errors(new) ^ {TYPES[kind] for kind in known_types(rows)}
        if differing:
            names = ", ".join(sorted(differing))
            sys.exit(f"BENCHMARKS.md: the errors are not those of the library's types ({names}); run "
                     "sparamx-bench --errors --json FILE and cmake/benchmarks.py LIBRARY --errors FILE")
        print("BENCHMARKS.md: the support matrix is the library's own")
    else:
        PAGE.write_text(new)
        if options.break_even:
            GUIDE.write_text(replace(GUIDE.read_text(), "break-even", break_even(options.break_even)))


if __name__ == "__main__":
    main()
