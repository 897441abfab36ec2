#!/usr/bin/env bash
# qemu/run.sh LIBDIR OUTDIR - the library in LIBDIR and the C tests on CPUs that this machine is not, under qemu-user
# (Debian: qemu-user). Logs are in OUTDIR. Last line: "N passed, N failed, N skipped".
set -uo pipefail
here=$(dirname "$(realpath "$0")")
. "$here/../tally.sh"
mkdir -p "$2"
lib=$(realpath "$1") out=$(realpath "$2")
qemu=$(command -v qemu-x86_64) || {
    tally_skip 3 "other CPUs: there is no qemu-x86_64 (Debian: qemu-user)"
    tally_end
    exit
}
unset SPARAMX_ISA LD_PRELOAD

tally "build" "$out/build.log" "$here/../abi/build.sh" "$lib" "$out/abi" "${CC:-cc}"
[ "$tally_failed" -eq 0 ] && "${CC:-cc}" -O2 -Wall -Wextra -Werror "$here/above_baseline.c" -o "$out/above_baseline" ||
    { tally_failed=$((tally_failed + 1)); tally_end; exit 1; }

# Does the emulated CPU have an instruction set? qemu itself says nothing when it has not: the program dies.
has() { bash -c '"$@" >/dev/null 2>&1' - "$qemu" -cpu "$1" "$out/above_baseline" "$2" 2>/dev/null; }

# on NAME CPU LACKS TEST...: the tests on a CPU that must lack an instruction set.
on() {
    local name=$1 cpu=$2 lacks=$3 test
    shift 3
    if has "$cpu" "$lacks" || ! has "$cpu" sse2; then
        echo "not ok: $name executes $lacks, or not even sse2: nothing would be noticed on it"
        tally_failed=$((tally_failed + 1))
        return
    fi
    tally_passed=$((tally_passed + 1))
    for test in "$@"; do
        local arguments=()
        # The reference level, because the CPU has no AVX-512 and no AMX: 20 and 21 of sparamx.h.
        [ "$test" = isa_test ] && arguments=(0 20 21)
        tally "$name: $test" "$out/$test-${name//[^A-Za-z0-9]/_}.log" env "LD_LIBRARY_PATH=$lib" \
            "SPARAMX_UNSTRIPPED=$lib/swift/release/libsparamx.so" "$qemu" -cpu "$cpu" "$out/abi/$test" "${arguments[@]}"
    done
}

on "CPU without AVX-512" Haswell avx512 isa_test ladder_test api_test op_test
on "CPU without AVX2" Nehalem avx2 isa_test ladder_test api_test buffer_test op_test
# Nothing but what x86-64 began with: what compilers call baseline.
on "CPU with SSE2 alone" "qemu64,-sse3,-cx16" sse4 isa_test ladder_test api_test arguments_linear_test \
    arguments_op_test replay_test \
    buffer_test op_test threads_test

if [ -x "$lib/examples/sparamx-hello" ]; then
    if LD_LIBRARY_PATH=$lib "$qemu" -cpu Nehalem "$lib/examples/sparamx-hello" >"$out/hello.log" 2>&1; then
        tally_passed=$((tally_passed + 1))
    else
        echo "not ok: sparamx-hello on a CPU without AVX2, see $out/hello.log"
        tally_failed=$((tally_failed + 1))
    fi
else
    tally_skip 1 "sparamx-hello on a CPU without AVX2: the examples are not built"
fi
tally_end
