#!/usr/bin/env python3
"""preload_selftest.py libtile-emulator.so - checks the preloaded form and patch_cpuid.py, with probe.c as the guest.

Builds in a temporary directory with $CC (default cc). Last line: "N passed, N failed, N skipped".
"""
import errno
import os
import resource
import shlex
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
AMX = 1 << 22 | 1 << 24 | 1 << 25
TILES = 3 << 17
AVX512_STATE = 7 << 5
AVX512_B = 1 << 16 | 1 << 17 | 1 << 21 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 30 | 1 << 31
AVX512_C = 1 << 1 | 1 << 6 | 1 << 11 | 1 << 12 | 1 << 14
AVX512_D = 1 << 2 | 1 << 3 | 1 << 8 | 1 << 23

passed = failed = skipped = 0


def check(condition, message):
    global passed, failed
    if condition:
        passed += 1
    else:
        failed += 1
        print(f"FAILED: {message}")


def values(text):
    result = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name == "leaf1.b":
            continue  # holds the number of the CPU that the process happens to be on
        try:
            result[name] = int(value, 0)
        except ValueError:
            result[line] = None
    return result


def main():
    global skipped
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    emulator = os.path.abspath(sys.argv[1])
    compiler = shlex.split(os.environ.get("CC", "cc"))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as directory:
        path = lambda name: os.path.join(directory, name)
        source = os.path.join(HERE, "probe.c")
        flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"]
        build = lambda *arguments: subprocess.run([*compiler, *flags, *arguments], check=True)
        build("-shared", "-fPIC", "-DPROBE_LIBRARY", source, "-Wl,-soname,libprobe.so", "-o", path("libprobe.so"))
        build(source, path("libprobe.so"), "-pthread", "-ldl", "-o", path("probe"))
        build("-shared", "-fPIC", "-Wl,-soname,libprobe.so", "-x", "c", os.devnull, "-o", path("libempty.so"))

        # The patched copy takes the place of the library under its soname, through a link.
        patch = lambda *arguments: subprocess.run([sys.executable, os.path.join(HERE, "patch_cpuid.py"), *arguments],
                                                  capture_output=True, text=True)
        os.mkdir(path("patched"))
        done = patch(path("libprobe.so"), path("patched/libprobe.emulated.so"))
        check(done.returncode == 0, f"patch_cpuid.py: {done.stderr}")
        os.symlink("libprobe.emulated.so", path("patched/libprobe.so"))
        check(patch(path("libempty.so"), path("libempty.emulated.so")).returncode == 1, "a library without cpuid")
        check(not os.path.exists(path("libempty.emulated.so")), "no output for it")
        check(patch(path("patched/libprobe.emulated.so"), path("again.emulated.so")).returncode == 1, "nothing is left")
        check(patch(path("libprobe.so"), path("patched.so")).returncode == 2, "the name must say it is emulated")
        check(patch(path("missing.so"), path("missing.emulated.so")).returncode == 2, "a missing file")
        check(patch(source, path("text.emulated.so")).returncode == 2, "not an ELF file")
        with open(path("libprobe.so"), "rb") as a, open(path("patched/libprobe.emulated.so"), "rb") as b:
            old, new = a.read(), b.read()
        changed = sum(x != y for x, y in zip(old, new))
        numbers = [int(word) for word in done.stdout.replace(",", "").split() if word.isdigit()]
        check(len(old) == len(new) and numbers and changed == numbers[0] + 2 * numbers[1], f"{changed} bytes changed")

        def run(what, patched=True, preload=True, **knobs):
            environment = {k: v for k, v in os.environ.items() if not k.startswith("SPARAMX_EMU_")}
            environment["LD_LIBRARY_PATH"] = path("patched") if patched else directory
            environment.pop("LD_PRELOAD", None)
            if preload:
                environment["LD_PRELOAD"] = emulator
            environment.update({"SPARAMX_EMU_" + k: v for k, v in knobs.items()})
            return subprocess.run([path("probe"), what], env=environment, capture_output=True, text=True)

        real_run = run("ask", patched=False, preload=False)
        real = values(real_run.stdout)
        check(real_run.returncode == 0 and "xcr0" in real, "the probe itself")
        check(run("ask", preload=False).returncode == -signal.SIGILL, "a patched library without the emulator")
        check(values(run("ask", patched=False, CPUID="full").stdout) == real, "an unpatched library sees the real CPU")

        for mode in (None, "full", "no-amx", "no-avx512", "amx-hidden", "avx512-hidden"):
            process = run("ask", **({} if mode is None else {"CPUID": mode}))
            seen = values(process.stdout)
            want = dict(real)
            for name in ("leaf7.d", "at_load.d"):
                want[name] = real[name] & ~AMX if mode == "no-amx" else real[name] | AMX
                if mode == "no-avx512":
                    want[name] &= ~AVX512_D
            hidden = mode in ("no-amx", "amx-hidden")
            want["xcr0"] = real["xcr0"] & ~TILES if hidden else real["xcr0"] | TILES
            if mode == "avx512-hidden":
                want["xcr0"] &= ~AVX512_STATE
            if mode == "no-amx":
                want["leaf7.1.a"] &= ~(1 << 21)
            if mode == "no-avx512":
                for name in ("leaf7.b", "at_load.b"):
                    want[name] &= ~AVX512_B
                want["leaf7.c"] &= ~AVX512_C
                want["leaf7.1.a"] &= ~(1 << 5)
            different = {k: (seen.get(k), v) for k, v in want.items() if seen.get(k) != v}
            check(process.returncode == 0 and not different and seen.keys() == want.keys(),
                  f"CPUID mode {mode}: status {process.returncode}, (seen, wanted): {different} {process.stderr}")
            check(seen.get("leaf1.c", 0) >> 27 & 1 == real["leaf1.c"] >> 27 & 1, f"OSXSAVE in mode {mode}")

        check(run("trap").returncode == -signal.SIGILL, "a trap of the patched library still kills")
        check(run("ask", CPUID="ful").returncode == 99, "an unknown CPUID mode")
        check(run("ask", PERM_ERRNO="EFAULT").returncode == 99, "an unknown errno")
        check(run("ask", PERM_ASK="nobody").returncode == 99, "an unknown one to ask")

        process = run("perm")
        seen = values(process.stdout)
        active = seen.get("active") == 1
        check(seen.get("pid") == 1 and seen.get("close.result") == -1 and seen.get("close.errno") == errno.EBADF,
              "other system calls")
        if active:
            bit = 1 << 18
            check(seen["supp.result"] == 0 and seen["supp.mask"] & TILES == TILES, "ARCH_GET_XCOMP_SUPP")
            check(seen["before.result"] == 0 and seen["before.mask"] & bit == 0, "ARCH_GET_XCOMP_PERM before")
            check(seen["request.result"] == 0 and seen["request.errno"] == 0, "ARCH_REQ_XCOMP_PERM")
            check(seen["after.result"] == 0 and seen["after.mask"] & bit == bit, "ARCH_GET_XCOMP_PERM after")
            check(seen["requests"] == 1 and seen["tdpbssd"] == 0, "counts")

            seen = values(run("amx").stdout)
            check(seen.get("good") == 512 and seen.get("tdpbssd") == 2, f"a product in two threads: {seen}")
            process = run("amx", REPORT="-")
            check("tdpbssd 2\n" in process.stderr and "configured-threads 0\n" in process.stderr, "report on stderr")
            report = path("report")
            run("amx", REPORT=report)
            run("amx", REPORT=report)
            with open(report) as file:
                text = file.read()
            check(text.count("tdpbssd 2\n") == 2 and text.count("permission-requests 1\n") == 2, "report in a file")

            process = run("forbidden")
            check(process.returncode == -signal.SIGABRT and "no permission" in process.stderr, "AMX without permission")
        else:
            print("note: AMX is not emulated on this CPU")
            skipped += 9
        for name in ("EPERM", "ENOSYS", "ENOSPC", "EINVAL"):
            seen = values(run("perm", PERM_ERRNO=name).stdout)
            check(seen.get("request.result") == -1 and seen.get("request.errno") == getattr(errno, name),
                  f"the request fails with {name}")
            check(seen.get("after.mask", 0) & 1 << 18 == 0 and seen.get("requests") == 1, f"no permission after {name}")

    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
