#!/usr/bin/env python3
"""Builds stock llama.cpp, unmodified, from the source inside the PyPI sdist of llama-cpp-python.

    build_host.py --kind linked     the CPU backend is linked into the tools (what most people build themselves)
    build_host.py --kind dynamic    backends are loaded at run time (GGML_BACKEND_DL, the release archives)

--also TOOL builds one more of llama.cpp's tools beside those that most tests need (llama-server, llama-imatrix).

Prints the folder of the build: its bin/ holds the tools. Everything stands in the cache, outside the clone, by version
and kind; what is there already is not built again. SPARAMX_HOST_CACHE names another cache than ~/.cache/sparamx-hosts.

GCC before 13.3 compiles llama.cpp's own AMX code wrongly (the tile configuration is lost; the first prompt of a
quantized model dies with SIGILL). With such a GCC the host is built with its own AMX switched off; the kinds with the
suffix -clang are built with clang and keep it. The kind flag is linked, from a copy of the source to which
examples/llama.cpp/add-amx-flag.py has added --amx.
"""

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

VERSION = "0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
KINDS = ("linked", "dynamic", "linked-clang", "dynamic-clang", "flag")
TARGETS = ("llama-bench", "llama-simple", "llama-perplexity", "llama-quantize", "test-backend-ops")
DYNAMIC_TARGETS = ("ggml-cpu", "ggml-rpc", "ggml-rpc-server")  # backends, which nothing links to, and a tool
ROOT = Path(__file__).resolve().parents[2]
FLAG_SCRIPT, HEADERS = ROOT / "examples/llama.cpp/add-amx-flag.py", ROOT / "include"
AMX_OFF = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"


def cache_folder():
    return Path(os.environ.get("SPARAMX_HOST_CACHE") or Path.home() / ".cache" / "sparamx-hosts")


def source_folder(kind="linked"):
    """The copy with the flag lies as deep as the source itself, so that ccache knows its files again."""
    folder = cache_folder() / (VERSION + "-flag" * (kind == "flag"))
    return folder / f"llama_cpp_python-{VERSION}" / "vendor" / "llama.cpp"


def build_folder(kind):
    return cache_folder() / (VERSION + "-flag" * (kind == "flag")) / f"build-{kind}"


def run(command, **options):
    print("+", " ".join(map(str, command)), file=sys.stderr, flush=True)
    subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr, **options)


def fetch_source():
    """The unpacked source, downloaded once with pip and checked against the known digest."""
    source = source_folder()
    if (source / "CMakeLists.txt").is_file():
        return source
    archive = cache_folder() / f"llama_cpp_python-{VERSION}.tar.gz"
    if not archive.is_file():
        run([sys.executable, "-m", "pip", "download", f"llama-cpp-python=={VERSION}", "--no-deps",
             "--no-binary", "llama-cpp-python", "--dest", cache_folder()])
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != SHA256:
        sys.exit(f"build_host.py: {archive} has the digest {digest} instead of {SHA256}: delete it and try again")
    unpacked = cache_folder() / f"{VERSION}.partial"
    shutil.rmtree(unpacked, ignore_errors=True)
    with tarfile.open(archive) as tar:
        # Python before 3.12 has the filter from 3.11.4 and 3.10.12 on.
        tar.extractall(unpacked, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (cache_folder() / VERSION).mkdir(exist_ok=True)
    (unpacked / f"llama_cpp_python-{VERSION}").rename(source.parents[1])
    shutil.rmtree(unpacked)
    return source


def gcc_loses_tile_configuration(compiler):
    """GCC up to 12, and 13 before 13.3: _tile_loadconfig tells the compiler that it reads 8 of the 64 bytes."""
    text = subprocess.run([compiler, "-dumpfullversion"], capture_output=True, text=True, check=True).stdout
    version = tuple(int(part) for part in re.findall(r"\d+", text)[:2])
    return version < (13, 3)


def find_clang():
    for candidate in (os.environ.get("SPARAMX_CLANG"), "clang", "/opt/swift/usr/bin/clang"):
        path = candidate and shutil.which(candidate)
        if path:
            return path
    sys.exit("build_host.py: clang is not found: put it on PATH or set SPARAMX_CLANG")


def cpu_flags():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split(":")[1].split())
    return set()


def instruction_sets(kind):
    """-march=native where llama.cpp allows it. Dynamic backends get the same piece by piece; the kinds built with clang
    get AMX on any CPU, because the tile emulator can run it."""
    clang = kind.endswith("-clang")
    if not kind.startswith("dynamic") and not clang:
        return ["-DGGML_NATIVE=ON"]
    flags = cpu_flags()
    names = [("AVX512", "avx512f"), ("AVX512_VBMI", "avx512vbmi"), ("AVX512_VNNI", "avx512_vnni"),
             ("AVX512_BF16", "avx512_bf16")]
    chosen = [f"-DGGML_{name}={'ON' if flag in flags else 'OFF'}" for name, flag in names]
    amx = [f"-DGGML_AMX_{part}={'ON' if clang else 'OFF'}" for part in ("TILE", "INT8", "BF16")]
    return ["-DGGML_NATIVE=OFF", *chosen, *amx]


def stamp(kind):
    """What a finished build says about itself: built for this CPU's instructions, it is of no use on another."""
    text = " ".join(sorted(cpu_flags()))
    if kind == "flag":
        text += "".join(path.read_text() for path in (FLAG_SCRIPT, *sorted(HEADERS.glob("sparamx*"))))
    return f"{kind} {hashlib.sha256(text.encode()).hexdigest()[:16]}\n"


def add_flag(source):
    """Our copy of the source, with the flag brought up to date; what did not change is not compiled again."""
    copy = source_folder("flag")
    if not copy.is_dir():
        copy.parent.mkdir(parents=True, exist_ok=True)
        partial = copy.with_name("partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(source, partial, symlinks=True)
        partial.rename(copy)
    run([sys.executable, FLAG_SCRIPT, copy])
    return copy


def configure(kind, source, build):
    flags = ""
    command = ["cmake", "-S", source, "-B", build, "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=ON",
               "-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_SERVER=ON", "-DLLAMA_BUILD_APP=OFF", "-DLLAMA_BUILD_TESTS=ON",
               # Without the server's web interface, which its build would download or make with npm.
               "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF",
               "-DGGML_BACKEND_DL=" + ("ON" if kind.startswith("dynamic") else "OFF"), *instruction_sets(kind)]
    if kind.startswith("dynamic"):
        command += ["-DGGML_RPC=ON", "-DGGML_RPC_RDMA=OFF"]  # as in the release archives
    if shutil.which("ninja"):
        command += ["-G", "Ninja"]
    if kind.endswith("-clang"):
        clang = find_clang()
        command += [f"-DCMAKE_C_COMPILER={clang}", f"-DCMAKE_CXX_COMPILER={clang.removesuffix('clang')}clang++"]
    else:
        compiler = shutil.which(os.environ.get("CXX", "g++")) or sys.exit("build_host.py: no C++ compiler (g++)")
        if "clang" not in Path(compiler).name and gcc_loses_tile_configuration(compiler):
            flags = AMX_OFF
    command += [f"-DCMAKE_C_FLAGS={flags}", f"-DCMAKE_CXX_FLAGS={flags}"]
    run(command)


def compile_targets(build, targets):
    jobs = os.environ.get("SPARAMX_HOST_JOBS") or str(len(os.sched_getaffinity(0)))
    base = {**os.environ, "CCACHE_BASEDIR": str(build.parent), "CCACHE_NOHASHDIR": "1"}
    run(["nice", "-n", "19", "cmake", "--build", build, "--parallel", jobs, "--target", *targets], env=base)


def build_host(kind):
    cache_folder().mkdir(parents=True, exist_ok=True)
    build = build_folder(kind)
    with open(cache_folder() / f"lock-{VERSION}-{kind}", "w") as lock, \
            open(cache_folder() / f"lock-{VERSION}", "w") as source_lock:
        fcntl.flock(source_lock, fcntl.LOCK_EX)
        source = fetch_source()
        fcntl.flock(source_lock, fcntl.LOCK_UN)
        fcntl.flock(lock, fcntl.LOCK_EX)
        complete = build / "complete"
        if not complete.is_file() or complete.read_text() != stamp(kind):
            if kind == "flag":
                source = add_flag(source)
            else:
                shutil.rmtree(build, ignore_errors=True)
            configure(kind, source, build)
            compile_targets(build, TARGETS + (DYNAMIC_TARGETS if kind.startswith("dynamic") else ()))
            complete.write_text(stamp(kind))
    return build


def add_tools(kind, tools):
    """Into a build that is there already. Most are a few files; llama-server takes two cores some minutes."""
    build = build_host(kind)
    missing = [tool for tool in tools if not (build / "bin" / tool).is_file()]
    if "ggml-rpc-server" in missing:
        missing.append("ggml-rpc")  # which it loads at run time
    if missing:
        with open(cache_folder() / f"lock-{VERSION}-{kind}", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            configure(kind, source_folder(kind), build)  # the build may be older than the choice of tools above
            compile_targets(build, missing)
    return build


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--kind", choices=KINDS, default="linked")
    parser.add_argument("--also", action="append", default=[], metavar="TOOL")
    parser.add_argument("--source-only", action="store_true", help="only fetch the source and print its folder")
    args = parser.parse_args()
    try:
        if args.source_only:
            cache_folder().mkdir(parents=True, exist_ok=True)
            print(fetch_source())
        else:
            print(add_tools(args.kind, args.also))
    except subprocess.CalledProcessError as error:
        sys.exit(f"build_host.py: this command failed with status {error.returncode}: {' '.join(error.cmd)}")


if __name__ == "__main__":
    main()
