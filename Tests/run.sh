#!/usr/bin/env bash
# Builds everything and runs all tests, or the parts that are named. The last line is "N passed, N failed, N skipped";
# the exit status is 0 if nothing failed. Debian packages that are missing are installed. Logs: build/test-logs.
#
# Usage: Tests/run.sh [PART...]     parts: build library headers emulator abi abi-guard
#                             fuzz qemu sandbox beside load package distribution amx examples collect prune pytorch
#                             swift tsan; numa runs only if it is named
set -uo pipefail
cd "$(dirname -- "$(realpath -- "$0")")/.."
. Tests/tally.sh

all=(build library headers emulator abi abi-guard fuzz qemu sandbox beside load package distribution amx examples
    collect prune pytorch swift tsan)
only_named=(numa)
case "${1-}" in
-h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
parts=("$@")
[ $# -gt 0 ] || parts=("${all[@]}")
for part in "${parts[@]}"; do
    [[ " ${all[*]} ${only_named[*]} " == *" $part "* ]] ||
        { echo "Tests/run.sh: no part $part; parts: ${all[*]} ${only_named[*]}" >&2; exit 2; }
done
wanted() { [[ " ${parts[*]} " == *" $1 "* ]]; }
have() { command -v "$1" >/dev/null 2>&1; }
die() { printf 'Tests/run.sh: %s\n' "$*" >&2; echo "0 passed, 1 failed, 0 skipped"; exit 1; }
say() { printf '\n== %s\n' "$*"; }

# -- what is needed ----------------------------------------------------------------------------------------------------

missing_packages() {
    have cmake || echo cmake
    have gcc || echo gcc
    [ -e /usr/include/stdio.h ] || echo libc6-dev
    have g++ || echo g++
    have make || echo make
    have pkg-config || echo pkg-config
    have objdump || echo binutils
    [ -e /usr/include/numa.h ] || echo libnuma-dev
    have python3 || echo python3
    { have python3 && python3 -c 'import ensurepip, venv' 2>/dev/null; } || echo python3-venv
}

install_packages() {
    local as_root=() packages
    mapfile -t packages < <(missing_packages)
    [ ${#packages[@]} -gt 0 ] || return 0
    say "Installing ${packages[*]}"
    have apt-get || die "these are missing, and there is no apt-get to install them with: ${packages[*]}"
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || die "these are missing; install them as root: apt-get install ${packages[*]}"
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update -qq && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${packages[@]}" ||
        die "these cannot be installed: ${packages[*]}"
}

# Tools of single parts. Where they cannot be had, the part skips what needs them, aloud.
install_tools() {
    local tools=() as_root=()
    ! wanted qemu || have qemu-x86_64 || tools+=(qemu-user)
    ! wanted distribution || have dpkg-shlibdeps || tools+=(dpkg-dev)
    ! wanted distribution || have lintian || tools+=(lintian)
    ! wanted distribution || have debootstrap || tools+=(debootstrap)
    ! wanted abi-guard || have abidiff || tools+=(abigail-tools)
    # What the tests decode AVX-512 with on CPUs that lack it.
    [ "${SPARAMX_INTERPRET:-}" != 1 ] || grep -qw avx512f /proc/cpuinfo || [ -e /usr/include/Zydis/Zydis.h ] ||
        tools+=(libzydis-dev)
    [ ${#tools[@]} -gt 0 ] && have apt-get || return 0
    say "Installing ${tools[*]}"
    [ "$(id -u)" -eq 0 ] || { have sudo || return 0; as_root=(sudo -n); }
    "${as_root[@]}" apt-get update -qq && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${tools[@]}" >/dev/null ||
        echo "these cannot be installed: ${tools[*]}"
}

# Its folder also holds the clang that some tests use, so it is added where swift itself is on PATH by a link.
find_swift() {
    local bin
    for bin in "$(dirname "$(realpath "$(command -v swift || echo /nonexistent/swift)")")" \
        "${SWIFT_HOME:-/nonexistent}/usr/bin" \
        "${SWIFT_HOME:-/nonexistent}/bin" /opt/swift/usr/bin /usr/local/swift/usr/bin \
        "${HOME:-/nonexistent}/.local/share/swiftly/bin"; do
        [ -x "$bin/swift" ] || continue
        export PATH="$PATH:$bin"
        return 0
    done
    have swift || die "swift is not found: install a Swift 6.3 toolchain, then put it on PATH or set SWIFT_HOME"
}

install_packages
install_tools
find_swift
unset SPARAMX_ISA LD_PRELOAD LD_LIBRARY_PATH
logs=build/test-logs
mkdir -p "$logs"
export TALLY_SHOW=1 TALLY_LIMIT=${TALLY_LIMIT:-1200}

# Python's packages take minutes to come: they do so while other parts run.
. Tests/pytest.sh
for name in collect prune pytorch; do
    ! wanted "$name" || make_venv "Tests/$name" "$name" >"$logs/venv-$name.log" 2>&1 &
done

# -- the parts ---------------------------------------------------------------------------------------------------------

# part NAME WHAT COMMAND...: a part that is one command.
part() {
    wanted "$1" || return 0
    say "$1: $2"
    tally "$1" "$logs/$1.log" "${@:3}"
}

# begin_part NAME COMMAND...: starts a part that leaves a core idle, beside those that follow. end_part NAME WHAT waits
# for it, and shows what it wrote and how it ended, as part does.
declare -A begun
begin_part() {
    wanted "$1" || return 0
    (
        status=0
        TALLY_SHOW=0 timeout --kill-after=10 "$TALLY_LIMIT" "${@:2}" >"$logs/$1.out" 2>&1 || status=$?
        echo "$status" >"$logs/$1.status"
    ) &
    begun[$1]=$!
}
end_part() {
    wanted "$1" || return 0
    say "$1: $2"
    wait "${begun[$1]}"
    # shellcheck disable=SC2016
    tally "$1" "$logs/$1.log" bash -c 'cat "$1"; exit "$(cat "$2")"' _ "$logs/$1.out" "$logs/$1.status"
}

say "build: the library and the examples, into build/"
if ! { cmake -S cmake -B build -DCMAKE_BUILD_TYPE=Release && cmake --build build --parallel "$(nproc)"; } \
    >"$logs/build.log" 2>&1; then
    tail -n 40 "$logs/build.log" >&2
    die "the build failed; all of its output is in $logs/build.log"
fi
grep -E 'warning:' "$logs/build.log"
[ -e build/libsparamx.so ] || die "the build made no build/libsparamx.so"
tally_passed=$((tally_passed + 1))

if wanted library; then
    say "library: what is in build/libsparamx.so, and what is not"
    tally "check_library.py" "$logs/library.log" python3 cmake/check_library.py build/swift/release/libsparamx.so \
        build/libsparamx.so
    for command in "cmake/benchmarks.py build/libsparamx.so --check" "cmake/generate.py --check"; do
        # shellcheck disable=SC2086
        if python3 $command; then
            tally_passed=$((tally_passed + 1))
        else
            echo "not ok: $command: what is generated is not what the library is"
            tally_failed=$((tally_failed + 1))
        fi
    done
    tally "check_library.py --self-test" "$logs/library-self-test.log" python3 cmake/check_library.py --self-test
    tally "style.sh" "$logs/style.log" Tests/style.sh
fi
part headers "sparamx.h alone, with every compiler and standard" Tests/abi/header_test.sh
part emulator "the tile emulator itself" Tests/emulator.sh build/tests/emulator
part abi "C programs against the shared library, under every SPARAMX_ISA" Tests/abi/run.sh build build/tests/abi
part abi-guard "a program of the first release, and what it relies on" Tests/abi-guard/run.sh build \
    build/tests/abi-guard
part fuzz "inputs kept, then a few seconds per target; the long form is Tests/fuzz/long.sh build/tests/fuzz" \
    Tests/fuzz/run.sh build build/tests/fuzz
begin_part sandbox Tests/sandbox/run.sh build build/tests/sandbox
part qemu "CPUs without AVX-512, without AVX2, with SSE2 alone" Tests/qemu/run.sh build build/tests/qemu
part numa "memory nodes, in a machine that qemu-system plays" Tests/numa/run.sh build build/tests/numa
part beside "ordinary Swift, a second copy, other tile code in the same process" Tests/beside/run.sh build \
    build/tests/beside
end_part sandbox "filters, small stacks, memory limits, forks; it runs beside qemu"
part load "a host with sixteen threads; the long form is Tests/load/run.sh build build/tests/load 600" \
    Tests/load/run.sh build build/tests/load
part package "find_package, pkg-config, cc, FetchContent" Tests/package/run.sh build build/tests/package
part distribution "Debian packages and an archive, in a fresh Debian" \
    Tests/package/distribution.sh build build/tests/distribution
if wanted amx; then
    if grep -qw -e avx512_bf16 -e amx_tile /proc/cpuinfo || [ "${SPARAMX_INTERPRET:-}" = 1 ]; then
        part amx "the steps for a machine with AMX, in their short form" Tests/amx.sh --short --out build/tests/amx
    else
        tally_skip 1 "the steps for a machine with AMX: no AVX-512 (to interpret it: SPARAMX_INTERPRET=1)"
    fi
    if command -v llvm-mca-19 >/dev/null && command -v c++ >/dev/null && python3 -c 'import numpy' 2>/dev/null; then
        tally "the model of a core with AMX" "$logs/amx-model.log" python3 Tests/amx/model/selftest.py
    else
        tally_skip 8 "the model of a core with AMX: it needs llvm-mca-19 (package llvm-19), a C++ compiler and numpy"
    fi
fi
emulated=()
[ -x build/tests/abi/capability ] && emulated=(build/tests/abi)
part examples "the programs on small models" Tests/examples/run.sh build build/tests/examples "${emulated[@]}"
part collect "statistics for pruners, in a host without a model" Tests/collect/run.sh -q
part prune "examples/prune, from a dense model to a pruned one" Tests/prune/run.sh -q
part pytorch "examples/pytorch, the layers of models and the wheel" Tests/pytorch/run.sh -q
if wanted swift; then
    levels=(amx avx512 reference)
    if ! grep -qw avx512f /proc/cpuinfo && [ "${SPARAMX_INTERPRET:-}" != 1 ]; then
        levels=(amx)
        tally_skip 2 "unit tests with SPARAMX_ISA=avx512 and reference: without AVX-512 they are those of amx again"
    fi
    for level in "${levels[@]}"; do
        say "swift: unit tests, SPARAMX_ISA=$level"
        tally "swift, $level" "$logs/swift-$level.log" Tests/swift.sh build "$level"
    done
fi
[ $# -gt 0 ] || tally_skip 1 \
    "memory nodes in a machine that qemu-system plays: its kernel has to be fetched; run Tests/run.sh numa"
[ $# -gt 0 ] || tally_skip 1 \
    "real engines: they are built from source, which takes up to half an hour; run Tests/hosts/run.sh"
part tsan "packing and multiplying at the same time, under the thread sanitizer" Tests/swift.sh build thread-sanitizer

say "all of it"
tally_end
