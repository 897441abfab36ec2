#!/usr/bin/env python3
"""check_library.py UNSTRIPPED.so [STRIPPED.so] - proves what the design promises about the built library.

Sections and symbols: needs libc alone, no RPATH, exports exactly the functions that sparamx.h and sparamx-kv.h declare
under SPARAMX_1, nothing of the Swift runtime, nothing writable and executable, below 1.25 MB when stripped; every
function has an unwind table. Instructions, in every byte of code: nothing above baseline x86-64 outside the kernels,
tiles only in AMX kernels, cpuid and xgetbv only in the two functions that are called so, no traps in kernels, no calls
in product kernels.

check_library.py --self-test [CC]: shows that each of these checks fails on a library that breaks its rule.
The last line is "N passed, N failed, N skipped".
"""
import os
import re
import subprocess
import sys

import definitions

HERE = os.path.dirname(os.path.abspath(__file__))
# The second is a part of the first.
HEADERS = [os.path.join(HERE, "..", "include", name) for name in ("sparamx.h", "sparamx-kv.h")]
SONAME = "libsparamx.so.0"
VERSION = "SPARAMX_1"
GLIBC = (2, 34)  # the oldest that it runs with: README.md
MAX_BYTES = 5 << 18

TYPES = "|".join(kind.symbol for kind in definitions.types())
FORM = f"({'|'.join(definitions.FORMS['CODED'])})"

# Who may use what. Swift's mangled names start with the module's.
VECTOR = re.compile(r"sx_(avx512|amx)_|\$e\d+Kernels(AVX512|AMX)")
# The AMX kernels of the quantized types share three bodies, which are told where a type's expansion function is: a
# copy for each kernel would be 330 KB of code. So such a kernel may jump to a body, if the one address it names is
# that of its own expansion function, and a body may call through a pointer: there is only the one it got.
SHARED = re.compile(r"\$e10KernelsAMX\d+quant(Ring|RingWide|Gemm)__")
# The AVX-512 kernels for many tokens of the quantized types share the functions that multiply a group of tokens.
GROUP = re.compile(r"\$e13KernelsAVX5125group\w*PartForm")
GROUPED = re.compile(rf"sx_avx512_({TYPES})_{FORM}_gemm$")
# The AMX kernels for many tokens of the coded forms share those that make tiles, a step at a time.
STEP = re.compile(r"\$e10KernelsAMX9CodedPair\w+LLV(4step|6finish)yyF$")
STEPPED = re.compile(r"sx_amx_bf16_coded(_sparse)?_gemm$")
EXPANDED = re.compile(r"sx_amx_(\w+)_(ring|gemm)$")
TILE = re.compile(r"sx_amx_|" + SHARED.pattern)
PRODUCT = re.compile(rf"sx_(avx512|amx)_({TYPES})_{FORM}_|" + SHARED.pattern + "|" + GROUP.pattern + "|" + STEP.pattern)
CPU_QUESTIONS = {"cpuid": "sx_cpuid", "xgetbv": "sx_xgetbv"}
CALLABLE = {"memset@plt", "memcpy@plt"}
PREFIXES = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3}


def run(*arguments):
    result = subprocess.run(arguments, capture_output=True, text=True, errors="replace",
                            env=dict(os.environ, LC_ALL="C"))
    if result.returncode != 0:
        raise OSError(f"{' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout


def declared_functions(headers):
    """Names of the functions the headers declare: those outside braces and comments."""
    outside = []
    for header in headers:
        with open(header) as file:
            text = file.read()
        text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
        text = re.sub(r"^\s*#.*$", "", text, flags=re.M).replace('extern "C" {', "")
        depth = 0
        for character in text:
            depth += (character == "{") - (character == "}")
            if depth == 0:
                outside.append(character)
    return set(re.findall(r"\b(sparamx_\w+)\s*\(", "".join(outside)))


def above_baseline(code):
    """Why an instruction needs more than x86-64 with SSE2, or None."""
    i, prefixes = 0, set()
    while i < len(code) and code[i] in PREFIXES:
        prefixes.add(code[i])
        i += 1
    if i < len(code) and code[i] & 0xf0 == 0x40:  # REX
        wide = code[i] & 8
        i += 1
    else:
        wide = 0
    rest = code[i:] + bytes(3)
    if rest[0] in (0xc4, 0xc5):
        return "VEX"
    if rest[0] == 0x62:
        return "EVEX"
    if rest[0] == 0xd5:
        return "APX"
    if rest[0] == 0x8f and rest[1] & 0x38:
        return "XOP"
    if rest[0] != 0x0f:
        return None
    opcode, modrm = rest[1], rest[2]
    reg, repeat = modrm >> 3 & 7, prefixes & {0xf2, 0xf3}
    if opcode in (0x38, 0x3a):
        return "SSSE3 or later"
    if opcode in (0xb8, 0xbd) and 0xf3 in prefixes:  # F3 0F BC, tzcnt, is bsf on older CPUs: compilers rely on that
        return "popcnt or lzcnt"
    if opcode in (0x7c, 0x7d, 0xd0, 0xf0) or opcode == 0x12 and repeat or opcode == 0x16 and 0xf3 in prefixes:
        return "SSE3"
    if opcode == 0xc7 and (reg != 1 or wide):
        return "cmpxchg16b, rdrand or xsave"
    if opcode == 0xae and not (modrm >= 0xc0 and reg >= 5 and not repeat) and reg not in (0, 1, 2, 3, 7):
        return "xsave"
    if opcode == 0xae and (repeat or 0x66 in prefixes):
        return "a later 0F AE"
    return None


class Report:
    def __init__(self):
        self.passed = self.failed = 0
        self.messages = []

    def check(self, bad, what):
        """bad: what breaks the rule, nothing if it holds."""
        bad = list(bad)
        if not bad:
            self.passed += 1
            return
        self.failed += 1
        more = f" and {len(bad) - 6} more" if len(bad) > 6 else ""
        self.messages.append(f"not ok: {what}: {'; '.join(map(str, bad[:6]))}{more}")


def check_sections(report, path):
    dynamic = run("readelf", "-dW", path)
    entries = re.findall(r"\((\w+)\)\s+(.*)", dynamic)
    brackets = lambda tag: [re.sub(r".*\[(.*)\].*", r"\1", value) for name, value in entries if name == tag]
    needed = brackets("NEEDED")
    report.check(sorted(set(needed) - {"libc.so.6", "libm.so.6"}), "needs libc alone (and libm at most)")
    report.check([] if "libc.so.6" in needed else ["libc.so.6 is missing"], "needs libc")
    versions = {tuple(map(int, v.split("."))) for v in re.findall(r"\bGLIBC_([\d.]+)", run("readelf", "-VW", path))}
    report.check([".".join(map(str, v)) for v in sorted(versions) if v > GLIBC],
                 f"runs with glibc {'.'.join(map(str, GLIBC))}")
    report.check(brackets("RPATH") + brackets("RUNPATH"), "no RPATH")
    report.check([] if brackets("SONAME") == [SONAME] else brackets("SONAME") or ["none"], f"the soname is {SONAME}")
    report.check([name for name, _ in entries if name == "TEXTREL"], "no text relocations")
    report.check([] if re.search(r"\bNOW\b", dynamic) else ["lazy"], "everything is bound at load time")

    segments = re.findall(r"^\s+(\w+)\s+0x\w+ 0x\w+ 0x\w+ 0x\w+ 0x\w+ ([RWE ]{3}) ", run("readelf", "-lW", path), re.M)
    report.check([] if segments else ["no segments found"], "segments can be read")
    report.check([kind for kind, flags in segments if "W" in flags and "E" in flags],
                 "nothing is writable and executable")
    report.check([] if "GNU_STACK" in dict(segments) else ["no GNU_STACK"], "the stack is not executable")
    size = os.path.getsize(path)
    report.check([] if size < MAX_BYTES else [f"{size} bytes"], "below 1.25 MB")


def check_dynamic_symbols(report, path):
    symbols = [line.split() for line in run("nm", "-D", path).splitlines()]
    defined = {words[2] for words in symbols if len(words) == 3 and words[1].isupper() and words[1] != "A"}
    undefined = {words[-1] for words in symbols if words[-2] in "Uw"}
    names = {name.partition("@")[0] for name in defined}
    wanted = declared_functions(HEADERS)
    report.check([] if len(wanted) > 30 else [f"{len(wanted)} functions"], "the header can be read")
    report.check(sorted(names - wanted), "exports nothing that sparamx.h does not declare")
    report.check(sorted(wanted - names), "exports everything that sparamx.h declares")
    report.check(sorted(name for name in defined if not name.endswith("@@" + VERSION)),
                 f"exports have version {VERSION}")
    report.check(sorted(name for name in undefined if re.search("swift", name, re.I)),
                 "asks for nothing of Swift's runtime")
    report.check(sorted(name for name in undefined if re.search("_Z|__gxx|_Unwind", name)), "asks for nothing of C++")
    report.check(sorted(name for name in undefined
                        if name.partition("@")[0] in {"abort", "exit", "_exit", "__assert_fail",
                        "raise", "kill", "printf", "puts", "putchar", "fprintf", "vfprintf", "fputs", "fwrite"}),
                 "calls nothing that ends the process or prints")


def check_static_symbols(report, path):
    symbols = [line.split() for line in run("nm", path).splitlines()]
    report.check([] if len(symbols) > 20 else [f"{len(symbols)} symbols"], "has symbols to check instructions by")
    runtime = re.compile(r"swift_|_swift_(?!exceptionPersonality$)")
    report.check(sorted(words[2] for words in symbols if len(words) == 3 and runtime.match(words[2])),
                 "nothing of Swift's runtime inside")


def function_sizes(path):
    pattern = r"^\s*\d+: ([0-9a-f]+)\s+(\w+)\s+(?:FUNC|IFUNC)\s+\w+\s+\w+\s+\d+ (\S+)"
    return {(int(address, 16), name.partition("@")[0]): int(size, 0)
            for address, size, name in re.findall(pattern, run("readelf", "-sW", path), re.M)}


def check_unwind_tables(report, unstripped, stripped):
    """Exceptions, backtraces, profilers and crash reporters find their way through every function. The tables are
    those of the stripped library, without those that only debuggers read."""
    frames = re.findall(r"FDE cie=\w+ pc=(\w+)\.\.(\w+)", run("readelf", "--debug-dump=frames", "-W", stripped))
    ends = {int(begin, 16): int(end, 16) for begin, end in frames}
    without = [name for (address, name), size in function_sizes(unstripped).items()
               if size > 0 and ends.get(address, 0) < address + size and name != "_swift_exceptionPersonality"]
    report.check([] if frames else ["none found"], "unwind tables can be read")
    report.check(sorted(without), "every function has an unwind table")


def instructions(path):
    """(symbol, bytes, mnemonic, operands) of each instruction; "?" for code that no symbol covers."""
    sizes = function_sizes(path)
    symbol, end = "?", 0
    label = re.compile(r"^([0-9a-f]+) <(.+)>:$")
    line = re.compile(r"^\s*([0-9a-f]+):\t([0-9a-f]{2}(?: [0-9a-f]{2})*) *\t(.*)$")
    prefix = re.compile(r"^((?:rex\S*|data16|addr32|[cdefgs]s|bnd|notrack|lock|repn?[ez]?|\{\w+\})\s+)+(?=\S)")
    for text in run("objdump", "-d", "-w", "--insn-width=16", path).splitlines():
        match = label.match(text)
        if match:
            start, symbol = int(match.group(1), 16), match.group(2)
            # Stubs of the linker and startup code have no size.
            end = start + (sizes.get((start, symbol)) or 1 << 40)
            continue
        match = line.match(text)
        if match:
            address, code, operation = match.groups()
            words = prefix.sub("", operation).split(None, 1)
            name, operands = words[0] if words else "(bad)", words[1] if len(words) > 1 else ""
            yield symbol if int(address, 16) < end else "?", bytes.fromhex(code), name, operands


def check_instructions(report, path):
    rules = ("nothing above baseline x86-64 outside the kernels", "tile instructions in sx_amx_* alone",
             "cpuid and xgetbv in the functions of that name alone", "no traps in AVX-512 and AMX kernels",
             "product kernels call memset, memcpy, their own expansion and groups of tokens at most",
             "every byte of code can be decoded")
    broken = {rule: {} for rule in rules}

    def note(rule, symbol, what):
        broken[rule].setdefault(f"{symbol} ({what})", None)

    count, named = 0, {}
    for symbol, code, name, operands in instructions(path):
        count += 1
        why = above_baseline(code)
        if why and not VECTOR.match(symbol):
            note(rules[0], symbol, f"{name}: {why}")
        if re.match(r"(ld|st)tilecfg|tile|tdp|tcmm|tcvt", name) and not TILE.match(symbol):
            note(rules[1], symbol, name)
        if name in CPU_QUESTIONS and symbol != CPU_QUESTIONS[name]:
            note(rules[2], symbol, name)
        if VECTOR.match(symbol) and re.match(r"ud[012]|int3|hlt", name):
            note(rules[3], symbol, name)
        if PRODUCT.match(symbol):
            target = re.search(r"<([^>+]+)(\+0x[0-9a-f]+)?>", operands)
            inside = target and target.group(1) == symbol
            whole = target.group(1) if target and not target.group(2) else None
            kernel = EXPANDED.match(symbol)
            if name == "lea" and whole:
                named.setdefault(symbol, set()).add(whole)
            expands = kernel and named.get(symbol) == {f"sx_amx_{kernel.group(1)}_expand"} and SHARED.match(whole or "")
            through = SHARED.match(symbol) and not target
            grouped = GROUPED.match(symbol) and GROUP.match(whole or "") \
                or STEPPED.match(symbol) and STEP.match(whole or "")
            if name.startswith("call") and not (whole in CALLABLE or expands or through or grouped) \
                    or name.startswith("jmp") and not (inside or expands):
                note(rules[4], symbol, f"{name} {operands}")
        if name == "(bad)":
            note(rules[5], symbol, code.hex())
    report.check([] if count > 0 else ["none"], "instructions can be read")
    for rule in rules:
        report.check(broken[rule], rule)
    return count


def text_section(path):
    match = re.search(r"\s\.text\s+PROGBITS\s+\w+\s+(\w+)\s+(\w+)", run("readelf", "-SW", path))
    with open(path, "rb") as file:
        file.seek(int(match.group(1), 16))
        return file.read(int(match.group(2), 16))


def check_library(unstripped, stripped):
    report = Report()
    count = 0
    try:
        check_sections(report, stripped)
        check_dynamic_symbols(report, stripped)
        check_static_symbols(report, unstripped)
        check_unwind_tables(report, unstripped, stripped)
        same = text_section(stripped) == text_section(unstripped)
        report.check([] if same else ["they differ"], "the stripped library has the same code")
        count = check_instructions(report, unstripped)
    except (OSError, AttributeError) as failure:
        report.check([failure], "the library can be read")
    return report, count


def main(arguments):
    if arguments[:1] == ["--self-test"]:
        sys.path.insert(0, HERE)
        import check_library_selftest
        return check_library_selftest.main(arguments[1:])
    if len(arguments) not in (1, 2) or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    report, count = check_library(arguments[0], arguments[-1])
    for message in report.messages:
        print(message)
    print(f"{os.path.getsize(arguments[-1])} bytes, {count} instructions")
    print(f"{report.passed} passed, {report.failed} failed, 0 skipped")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
