"""The self-test of check_library.py: a small library that obeys every rule passes, and each that breaks one rule fails
with the message of that rule. Started by `check_library.py --self-test [CC]`."""
import os
import shutil
import subprocess
import tempfile

import check_library

# It is never run: instructions stand in it to be found.
GOOD = r"""
#include <stddef.h>
#define ASM(text) __asm__ volatile(text)
STUBS
__attribute__((noinline, used)) static void sx_cpuid(void) { ASM("cpuid"); }
__attribute__((noinline, used)) static void sx_xgetbv(void) { ASM("xgetbv"); }
static void shared_body(void (*expand)(void));
static void token_group(void);
__attribute__((used)) static void sx_avx512_bf16_dense_m1(void) { ASM("vpexpandw %zmm0, %zmm1"); IN_VECTOR }
__attribute__((used)) static void sx_avx512_count(void) { ASM("popcnt %eax, %eax"); }
__attribute__((used)) static void sx_amx_bf16_sparse_ring(char *p) {
    ASM("tilezero %tmm0"); __builtin_memset(p, 0, 100000); ASM("vpxor %xmm0, %xmm0, %xmm0"); }
__attribute__((noinline, noipa, used)) static void shared_body(void (*expand)(void)) {
    ASM("tilezero %tmm0"); expand(); ASM("nop"); IN_BODY }
__attribute__((noinline, noipa, used)) static void sx_amx_q4_0_sparse_expand(void) {
    ASM("vpxor %xmm0, %xmm0, %xmm0"); IN_EXPANSION }
__attribute__((used)) static void sx_amx_q4_0_sparse_ring(void) { shared_body(sx_amx_q4_0_sparse_expand); }
__attribute__((noinline, noipa, used)) static void token_group(void) { ASM("vpdpbusd %zmm0, %zmm0, %zmm1"); IN_GROUP }
__attribute__((used)) static void sx_avx512_q4_0_sparse_gemm(void) { token_group(); ASM("nop"); IN_GEMM }
__attribute__((used)) static void local(void) {
    ASM("lfence; sfence; mfence; pause; bsf %eax, %eax; rep bsf %eax, %eax; movapd %xmm0, %xmm1"); IN_BASELINE }
"""

#        message that has to come, compiler arguments, then replacements in the source
BREAKS = [
    ("needs libc alone", ["-Wl,--no-as-needed", "-l:libstdc++.so.6", "-lm"], {}),
    ("runs with glibc", [], {"IN_BASELINE": "extern void arc4random_buf(void *, unsigned long); "
                                            "char four[4]; arc4random_buf(four, 4);"}),
    ("every function has", [], {"IN_BASELINE": 'ASM(".pushsection .text.bare,\\"ax\\"; .type bare,@function; '
                                               'bare: nop; ret; .size bare,.-bare; .popsection");'}),
    ("no RPATH", ["-Wl,-rpath,/somewhere"], {}),
    ("no RPATH", ["-Wl,-rpath,$ORIGIN", "-Wl,--disable-new-dtags"], {}),
    ("the soname is", ["-Wl,-soname,libother.so"], {}),
    ("everything is bound at load time", ["-Wl,-z,lazy"], {}),
    ("nothing is writable and executable", [], {"IN_BASELINE": 'ASM(".pushsection .wx,\\"awx\\"; nop; .popsection");'}),
    ("nothing is writable and executable", ["-Wl,-z,execstack"], {}),
    ("below 1.25 MB", ["-DBIG"], {}),
    ("exports nothing that", [], {"void sparamx_reset_everything": "void sparamx_more"}),
    ("exports everything that", [], {"void sparamx_version(": "static void sparamx_version("}),
    ("exports have version", ["-Wl,--version-script=other.map"], {}),
    ("asks for nothing of Swift", [], {"IN_BASELINE": "void swift_retain(void); swift_retain();"}),
    ("asks for nothing of C++", [], {"IN_BASELINE": "void _Znwm(void); _Znwm();"}),
    ("calls nothing that ends the process", [], {"IN_BASELINE": "void abort(void); abort();"}),
    ("nothing of Swift's runtime inside", [], {"void local(": "void swift_release("}),
    ("nothing above baseline", [], {"IN_BASELINE": 'ASM("vpxor %ymm0, %ymm0, %ymm0");'}),
    ("nothing above baseline", [], {"IN_BASELINE": 'ASM("vpaddd %zmm0, %zmm0, %zmm0");'}),
    ("nothing above baseline", [], {"IN_BASELINE": 'ASM("kmovq %rax, %k1");'}),
    ("nothing above baseline", [], {"IN_BASELINE": 'ASM("popcnt %eax, %eax");'}),
    ("nothing above baseline", [], {"IN_BASELINE": 'ASM("lzcnt %rax, %rax");'}),
    ("nothing above baseline", [], {"IN_BASELINE": 'ASM("pshufb %xmm0, %xmm0");'}),
    ("nothing above baseline", [], {"IN_BASELINE": 'ASM("pextrq $1, %xmm0, %rax");'}),
    ("nothing above baseline", [], {"IN_BASELINE": 'ASM("haddps %xmm0, %xmm0");'}),
    ("nothing above baseline", [], {"IN_BASELINE": 'ASM("movddup %xmm0, %xmm0");'}),
    ("nothing above baseline", [], {"IN_BASELINE": 'ASM("cmpxchg16b (%rsp)");'}),
    ("nothing above baseline", [], {"IN_BASELINE": 'ASM("xsave (%rsp)");'}),
    ("nothing above baseline", [], {"IN_BASELINE": 'ASM("rdrand %eax");'}),
    ("nothing above baseline", [], {"IN_BASELINE": 'ASM("shlx %eax, %eax, %eax");'}),
    ("tile instructions in sx_amx_", [], {"IN_VECTOR": 'ASM("ldtilecfg (%rsp)");'}),
    ("tile instructions in sx_amx_", [], {"IN_VECTOR": 'ASM("tdpbf16ps %tmm0, %tmm1, %tmm2");'}),
    ("tile instructions in sx_amx_", [], {"IN_VECTOR": 'ASM("tilerelease");'}),
    ("cpuid and xgetbv in", [], {"IN_BASELINE": 'ASM("cpuid");'}),
    ("cpuid and xgetbv in", [], {"IN_VECTOR": 'ASM("xgetbv");'}),
    ("no traps in", [], {"IN_VECTOR": "__builtin_trap();"}),
    ("product kernels call", [], {"IN_VECTOR": "void *malloc(size_t); void *volatile p = malloc(1);"}),
    ("product kernels call", [], {"IN_VECTOR": "sx_cpuid();"}),
    ("product kernels call", [], {"IN_VECTOR": "static void (*volatile f)(void); f();"}),
    ("product kernels call", [], {"IN_VECTOR": 'ASM("jmp *%rax");'}),
    ("product kernels call", [], {"IN_VECTOR": 'ASM("jmp sx_cpuid");'}),
    ("product kernels call", [], {"IN_VECTOR": "shared_body(sx_cpuid);"}),
    ("product kernels call", [], {"shared_body(sx_amx_q4_0_sparse_expand)": "shared_body(sx_avx512_count)"}),
    ("product kernels call", [], {"IN_BODY": "sx_cpuid();"}),
    ("product kernels call", [], {"IN_BODY": 'ASM("jmp *%rax");'}),
    ("product kernels call", [], {"IN_GROUP": "sx_cpuid();"}),
    ("product kernels call", [], {"IN_GEMM": "sx_cpuid();"}),
    ("product kernels call", [], {"IN_VECTOR": "token_group();"}),
    ("product kernels call", [], {"IN_EXPANSION": "static void (*volatile f)(void); f();"}),
]


def source(replacements):
    stubs = "".join(f"void {name}(void) {{}}\n"
                    for name in sorted(check_library.declared_functions(check_library.HEADERS)))
    extra = "static const char big[2 << 20] __attribute__((used)) = {1};\n"
    text = GOOD.replace("STUBS", stubs + "#ifdef BIG\n" + extra + "#endif\n")
    if "void sparamx_reset_everything" in replacements:
        text += "void sparamx_reset_everything(void) {}\n"
    for old, new in replacements.items():
        if old not in text:
            raise ValueError(f"{old} is not in the source")
        text = text.replace(old, new)
    for place in ("VECTOR", "BASELINE", "BODY", "EXPANSION", "GROUP", "GEMM"):
        text = text.replace("IN_" + place, "")
    return text


def build(compiler, directory, arguments, replacements):
    path = os.path.join(directory, "small.so")
    with open(os.path.join(directory, "small.c"), "w") as file:
        file.write(source(replacements))
    with open(os.path.join(directory, "other.map"), "w") as file:
        file.write("OTHER_1 { global: sparamx_*; local: *; };\n")
    script = os.path.join(check_library.HERE, "sparamx.map")
    defaults = ["-shared", "-fPIC", "-O1", "-w", f"-Wl,-soname,{check_library.SONAME}", "-Wl,-z,now"]
    if not any("version-script" in argument for argument in arguments):
        defaults.append(f"-Wl,--version-script={script}")
    result = subprocess.run([compiler, *defaults, "small.c", "-o", path, *arguments], cwd=directory,
                            capture_output=True, text=True)
    if result.returncode != 0:
        raise OSError(result.stderr)
    # Assemblers take names that begin with $ for numbers.
    check_library.run("objcopy", "--redefine-sym", "shared_body=$e10KernelsAMX9quantRing__body",
                      "--redefine-sym", "token_group=$e13KernelsAVX5125group__PartForm", path)
    return path


def main(arguments):
    compiler = arguments[0] if arguments else os.environ.get("CC", "cc")
    passed = failed = 0

    def result(good, text):
        nonlocal passed, failed
        passed, failed = passed + good, failed + (not good)
        if not good:
            print(f"not ok: {text}")

    if shutil.which(compiler) is None:
        print(f"no compiler {compiler}\n0 passed, 0 failed, {len(BREAKS) + 1} skipped")
        return 0
    with tempfile.TemporaryDirectory() as directory:
        path = build(compiler, directory, [], {})
        report, _ = check_library.check_library(path, path)
        result(not report.failed, f"a library that obeys every rule is refused: {report.messages}")
        for message, flags, replacements in BREAKS:
            path = build(compiler, directory, flags, replacements)
            report, _ = check_library.check_library(path, path)
            found = [text for text in report.messages if message in text]
            result(len(found) == 1 and report.failed == 1,
                   f"{flags} {replacements} should fail with \"{message}\" alone: {report.messages}")
        stripped = os.path.join(directory, "stripped.so")
        shutil.copy(build(compiler, directory, [], {}), stripped)
        path = build(compiler, directory, [], {"IN_BASELINE": 'ASM("nop");'})
        report, _ = check_library.check_library(path, stripped)
        result(any("has the same code" in text for text in report.messages), "a stripped library of other code")
        report, _ = check_library.check_library(os.devnull, os.devnull)
        result(report.failed > 0, "an empty file")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0
