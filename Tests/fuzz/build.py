#!/usr/bin/env python3
"""build.py OUT address|fast - builds the fuzz targets of this folder into OUT: the library's own sources with coverage
counters, linked with each target and with platform.c, by the clang and swiftc that are on PATH.

address   address sanitizer in every module, kernels included; and for undefined behaviour in C
fast      no sanitizer, for long runs: mappings lie between forbidden pages instead

Flags of the Swift modules are those of Package.swift, so this is Embedded Swift as it ships. What is up to date is not
built again. Exit status 0 if all is there.
"""
import concurrent.futures
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.realpath(os.path.join(HERE, "..", ".."))
COMMON = os.path.join(ROOT, "examples", "common")  # the types of GGUF in plain C
TARGETS = ["buffer", "file", "kv", "linear", "op", "options", "packed"]
C_MODULES = ["CKernelABI", "CKernelTable", "CInstructions", "CPlatform", "CExports"]
# What each Swift module imports.
IMPORTS = {
    "KernelsReference": ["CKernelABI"],
    "KernelsAVX512": ["CKernelABI", "CInstructions"],
    "KernelsAMX": ["CKernelABI", "CInstructions"],
    "SparamxCore": ["CKernelABI", "CKernelTable", "CPlatform"],
    "Sparamx": ["CKernelABI", "CKernelTable", "CPlatform", "CExports"],
}
# Decisions are in the core: there every edge is counted. Kernels have few decisions and many copies and loops: with the
# sanitizer their functions are counted, in the fast variant they are as they ship.
EDGES = "edge,inline-8bit-counters,pc-table"
FUNCTIONS = "func,inline-8bit-counters,pc-table"
# Where the library asks the machine, platform.c answers.
WRAPPED = ["sx_once", "sx_environment", "sx_cpuid", "sx_xgetbv", "sx_request_amx", "sx_cpu_count", "sx_numa_nodes",
           "sx_numa_prepare", "sx_numa_interleave", "sx_numa_places", "sx_numa_place", "sx_numa_here", "sx_allocate",
           "sx_map", "sx_reserve", "sx_make_usable", "sx_unmap", "sx_give_back", "sx_zero_pages", "sx_huge_pages",
           "sx_file_open", "sx_file_close", "sx_file_read", "sx_file_map", "sx_make_constant", "sx_new_file_create",
           "sx_new_file_write", "sx_new_file_finish", "sx_new_file_end"]
# swiftc has no coverage without a sanitizer, and with "fuzzer" it reports operands, which takes as long as the rest: in
# the fast variant these do nothing.
REPORTED = [f"__sanitizer_cov_trace_{kind}" for kind in
            ("cmp1", "cmp2", "cmp4", "cmp8", "const_cmp1", "const_cmp2", "const_cmp4", "const_cmp8", "switch")]


def files(folder, *endings):
    return sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(endings))


def swift_files(folder):
    """Those of its folders too, and of folders that are links: as SwiftPM has it."""
    return sorted(os.path.join(place, name) for place, _, names in os.walk(folder, followlinks=True)
                  for name in names if name.endswith(".swift"))


def flags_of(setting):
    """Of one Swift setting of a target, as `swift package dump-package` prints it."""
    if "define" in setting:
        return ["-D", setting["define"]["_0"]]
    return setting["unsafeFlags"]["_0"]


class Build:
    def __init__(self, out, variant):
        self.out = os.path.join(os.path.abspath(out), variant)
        self.address = variant == "address"
        self.edges = EDGES + (",trace-cmp" if self.address else "")
        os.makedirs(self.out, exist_ok=True)

    def path(self, name):
        return os.path.join(self.out, name)

    def run(self, made, sources, command):
        """Runs command if a source, or the command itself, is newer than what it makes."""
        record = made + ".command"
        known = open(record).read() if os.path.exists(record) else ""
        fresh = os.path.exists(made) and known == repr(command) \
            and all(os.path.getmtime(source) <= os.path.getmtime(made) for source in sources)
        if fresh:
            return
        # swiftc leaves an object alone whose code before instrumentation is the same, other counters or not.
        if os.path.exists(made):
            os.unlink(made)
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            raise SystemExit(f"build.py: {' '.join(command)}\n{result.stderr}")
        with open(record, "w") as file:
            file.write(repr(command))

    def swift_flags(self):
        environment = {name: value for name, value in os.environ.items() if name != "SPARAMX_ORDINARY_SWIFT"}
        text = subprocess.run(["swift", "package", "dump-package", "--package-path", ROOT], capture_output=True,
                              text=True, check=True, env=environment).stdout
        flags = {}
        for target in json.loads(text)["targets"]:
            swift = [setting["kind"] for setting in target["settings"] if setting["tool"] == "swift"]
            flags[target["name"]] = sum(map(flags_of, swift), [])
        return flags

    def swift(self, name, flags):
        maps = ["-I", os.path.join(ROOT, "include")]
        for module in IMPORTS[name]:
            include = os.path.join(ROOT, "Sources", module, "include")
            modulemap = self.modulemap(module)
            maps += ["-Xcc", f"-fmodule-map-file={modulemap}", "-Xcc", "-I", "-Xcc", include]
        sources = swift_files(os.path.join(ROOT, "Sources", name))
        made = self.path(name + ".o")
        depends = list(sources)
        for module in IMPORTS[name]:
            depends += files(os.path.join(ROOT, "Sources", module, "include"), ".h", ".def")
        if name == "Sparamx":
            depends += [*files(os.path.join(ROOT, "include"), ".h"), self.path("SparamxCore.o")]
        kernels = name.startswith("Kernels")
        covered = ["-sanitize=" + ("address" if self.address else "fuzzer"),
                   "-sanitize-coverage=" + (FUNCTIONS if kernels else self.edges)]
        self.run(made, depends, [
            "swiftc", "-module-name", name, "-parse-as-library", "-c", "-O", "-g", "-swift-version", "6", *flags[name],
            "-Xcc", "-fPIC", *maps, "-I", self.out, "-package-name", "main", "-module-cache-path", self.path("cache"),
            *([] if kernels and not self.address else covered),
            *(["-emit-module", "-emit-module-path", self.path(name + ".swiftmodule")] if name == "SparamxCore" else []),
            "-o", made, *sources])
        return made

    def c_flags(self):
        flags = ["-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-fno-omit-frame-pointer", "-pthread"]
        if self.address:
            flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-DFUZZ_ADDRESS=1"]
        return flags

    def c(self, source, name, *flags):
        made = self.path(name + ".o")
        headers = files(HERE, ".h") + files(COMMON, ".h") + files(os.path.join(ROOT, "include"), ".h") \
            + files(os.path.join(ROOT, "Sources", "CKernelABI", "include"), ".h", ".def")
        self.run(made, [source, *headers], ["clang", "-c", *self.c_flags(), "-fPIC", *flags, source, "-o", made])
        return made

    def modulemap(self, module):
        own = os.path.join(ROOT, "Sources", module, "include", "module.modulemap")
        return own if os.path.exists(own) else self.path(module + ".modulemap")

    def modules(self):
        """Module maps as SwiftPM writes them for modules that have none of their own."""
        for module in C_MODULES:
            include = os.path.join(ROOT, "Sources", module, "include")
            text = f'module {module} {{\n    umbrella "{include}"\n    export *\n}}\n'
            path = self.path(module + ".modulemap")
            if not os.path.exists(path) or open(path).read() != text:
                with open(path, "w") as file:
                    file.write(text)

    def all(self):
        self.modules()
        flags = self.swift_flags()
        covered = "-fsanitize-coverage=" + self.edges
        with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
            work = [pool.submit(self.swift, "KernelsAVX512", flags),
                    pool.submit(lambda: [self.swift(name, flags)
                                         for name in ("SparamxCore", "Sparamx", "KernelsReference")]),
                    pool.submit(self.swift, "KernelsAMX", flags)]
            objects = []
            abi = os.path.join(ROOT, "Sources", "CKernelABI", "include")
            for module in C_MODULES:
                folder = os.path.join(ROOT, "Sources", module)
                for source in files(folder, ".c"):
                    name = f"{module}-{os.path.basename(source)[:-2]}"
                    objects.append(self.c(source, name, "-I" + os.path.join(folder, "include"), "-I" + abi, covered))
            emulator = os.path.join(ROOT, "Tests", "emulator")
            # It counts on signal frames and stays out of the sanitizers' sight.
            for source in files(emulator, ".c"):
                objects.append(self.c(source, "emulator-" + os.path.basename(source)[:-2],
                                      "-I" + os.path.join(emulator, "include"), "-O3", "-fno-sanitize=all"))
            include = [f"-I{folder}" for folder in (os.path.join(ROOT, "include"), os.path.join(emulator, "include"),
                                                    COMMON)]
            shared = [self.c(os.path.join(HERE, name + ".c"), name, *include)
                      for name in ("memory_file", "oracle", "platform", "values", "world")]
            names = ("quants", "quants_plain", "quants_k")
            shared += [self.c(os.path.join(COMMON, name + ".c"), name) for name in names]
            mains = {name: self.c(os.path.join(HERE, f"fuzz_{name}.c"), f"fuzz_{name}", *include) for name in TARGETS}
            for item in work:
                result = item.result()
                objects += result if isinstance(result, list) else [result]
        sanitizers = "-fsanitize=fuzzer,address,undefined" if self.address else "-fsanitize=fuzzer"
        wrap = [f"-Wl,--wrap={symbol}" for symbol in WRAPPED + ([] if self.address else REPORTED)]
        # -Wl,--gc-sections drops the Swift runtime's stubs that nothing calls, as in the library itself.
        for name, main in mains.items():
            program = self.path(name)
            inputs = [main, *shared, *objects]
            self.run(program, inputs, ["clang", sanitizers, "-fuse-ld=lld", "-pthread", "-rdynamic", *inputs,
                                       *wrap, "-Wl,--gc-sections", "-lm", "-ldl", "-o", program])


def main():
    if len(sys.argv) != 3 or sys.argv[2] not in ("address", "fast"):
        raise SystemExit(__doc__)
    Build(sys.argv[1], sys.argv[2]).all()


if __name__ == "__main__":
    main()
