#!/usr/bin/env python3
"""Writes Sources/KernelsShared/Exports.swift: what has to stand there once for each type, form and kernel.

    cmake/generate.py            writes the file
    cmake/generate.py --check    changes nothing, fails if the file is not what would be written
"""
import pathlib
import sys

import definitions

OUT = pathlib.Path(__file__).resolve().parent.parent / "Sources/KernelsShared/Exports.swift"

# How a kernel of kernels.def is computed: {T} is the type, {F} the form, {e} the type's expansion.
BODIES = {
    ("avx512", "m1"): "quantDecode({T}.self, {F}.self, 1, args)",
    ("avx512", "m2"): "quantDecode({T}.self, {F}.self, 2, args)",
    ("avx512", "m4"): "quantDecode({T}.self, {F}.self, 4, args)",
    ("avx512", "gemm"): "quantGemm({T}.self, {F}.self, args)",
    ("amx", "ring"): "tileRing({T}.self, {e}, args)",
    ("amx", "gemm"): "tileGemm({T}.self, {e}, args)",
}
# The same for the types of 2 bytes, each of which has functions of its own on AVX-512: {t} is the type's symbol.
WIDE = {
    ("avx512", "gemm"): "{t}Gemm(sparse: {sparse}, args)",
    ("amx", "ring"): "wideRing(half: {half}, sparse: {sparse}, args)",
    ("amx", "gemm"): "wideGemm(half: {half}, sparse: {sparse}, args)",
}
# And in the coded forms of BF16.
CODED = {
    ("avx512", "gemm"): "bf16Gemm(sparse: {sparse}, coded: true, args)",
    ("amx", "ring"): "codedRing(sparse: {sparse}, args)",
    ("amx", "gemm"): "codedGemm(sparse: {sparse}, args)",
}
MOST_SUMS = {"bf16": 8, "f16": 4}  # tokens whose sums fit the registers: more of them take several passes
# What the codec does with one row's part of a chunk, for a type that is known at run time.
FILE, WRITTEN = "_ file: UnsafeRawPointer", "_ file: UnsafeMutableRawPointer"
CODECS = [
    ("readChunk", f"{FILE}, _ blocks: Int, _ codes: UnsafeMutablePointer<UInt8>", "file, blocks, codes"),
    ("writeChunk", f"{WRITTEN}, _ blocks: Int, _ codes: UnsafePointer<UInt8>", "file, blocks, codes"),
    ("readSides", f"{FILE}, _ blocks: Int, _ side: UnsafeMutableRawPointer, _ column: Int",
     "file, blocks, side, column"),
    ("writeSides", f"{WRITTEN}, _ blocks: Int, _ side: UnsafeRawPointer, _ column: Int", "file, blocks, side, column"),
]


def export(symbol, parameter, kind, body):
    return f"@c({symbol}) @implementation\npublic func {symbol}(_ {parameter}: {kind}) {{\n    {body}\n}}"


def expansion(kind, form):
    symbol = f"sx_amx_{kind.symbol}_{form}_expand"
    body = f"sx_unwind_tables()\n    expandKBlock({kind.name}.self, {form.title()}.self, next)"
    return export(symbol, "next", "UnsafeMutablePointer<sx_expansion>", body)


def kernels_of(kind, level):
    """The exported functions of one type."""
    for form in kind.forms:
        if level == "amx":
            yield expansion(kind, form)
        for kernel in definitions.kernels()[kind.kernels]:
            if kernel.level == level:
                body = BODIES[level, kernel.name].format(T=kind.name, F=form.title(),
                                                         e=f"sx_amx_{kind.symbol}_{form}_expand")
                symbol = f"sx_{level}_{kind.symbol}_{form}_{kernel.name}"
                yield export(symbol, "args", "UnsafePointer<sx_kernel_args>", body)


def wide_kernels_of(kind, level):
    """The exported functions of BF16 or F16."""
    for form in kind.forms:
        for kernel in definitions.kernels()[kind.kernels]:
            if kernel.level != level:
                continue
            facts = {"t": kind.symbol, "half": str(kind.symbol == "f16").lower(),
                     "sparse": str(form.endswith("sparse")).lower()}
            coded = form.startswith("coded")
            bodies = CODED if coded else WIDE
            if (level, kernel.name) in bodies:
                body = bodies[level, kernel.name].format(**facts)
            else:
                tokens = int(kernel.name.removeprefix("m"))
                count = min(tokens, MOST_SUMS[kind.symbol])
                family = "coded" if coded else kind.symbol
                body = f"{family}Decode({count}, passes: {tokens // count}, sparse: {facts['sparse']}, args)"
            yield export(f"sx_{level}_{kind.symbol}_{form}_{kernel.name}", "args", "UnsafePointer<sx_kernel_args>",
                         body)


def codec(kinds, name, parameters, arguments):
    lines = [f"func {name}(", f"    _ type: Int32, {parameters}", ") {", "    sx_unwind_tables()", "    switch type {"]
    lines += [f"    case Int32(SX_{kind.name}): {kind.name}.{name}({arguments})" for kind in kinds]
    return "\n".join(lines + ["    default: break", "    }", "}"])


def numbers(kind):
    """The numbers as a Swift constant: of a C function the compiler would learn them too late to specialize kernels."""
    weights, size, low, high, part, offset, left_out, levels, side, side_bytes, minimum, half = kind.numbers
    file = f"type: Int32(SX_{kind.name}), file_block_k: {weights}, file_block_bytes: {size}"
    bits = f"low_bits: {low}, high_bits: {high}, part_k: {part}"
    numbers = f"offset: {offset}, minimum: {minimum}, half_scale: {half}, background: {left_out}"
    return f"""extension {kind.name} {{
    @inline(__always) static var quant: sx_quant {{
        sx_quant({file},
                 {bits}, {numbers},
                 code_levels: Int32(SX_CODE_LEVELS_{levels}), side: Int32(SX_SIDE_{side}), side_bytes: {side_bytes})
    }}
}}"""


def text():
    kinds = [kind for kind in definitions.types() if kind.quantized]
    wide = [kind for kind in definitions.types() if not kind.quantized]
    parts = ["// Written by cmake/generate.py from types.def and kernels.def; do not edit. Each room compiles what is "
             "its own.",
             "import CKernelABI", "", *map(numbers, kinds), "", "#if ROOM_REFERENCE || ROOM_AVX512", ""]
    for row in CODECS:
        parts += [codec(kinds, *row), ""]
    for level in ("avx512", "amx"):
        parts += [f"#elseif ROOM_AMX" if level == "amx" else "#endif\n#if ROOM_AVX512", ""]
        for kind in wide:
            parts += [*wide_kernels_of(kind, level), ""]
        for kind in kinds:
            parts += [*kernels_of(kind, level), ""]
    return "\n".join(parts + ["#endif", ""])


def main():
    if sys.argv[1:] == ["--check"]:
        if OUT.read_text() != text():
            sys.exit(f"{OUT.name} is not what types.def and kernels.def say: run cmake/generate.py")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        OUT.write_text(text())


if __name__ == "__main__":
    main()
