#!/usr/bin/env bash
# emulator.sh LOGDIR [LIBRARY.so] - builds the tile emulator as Tests/emulator/README.md has it and runs its
# self-tests. The interpreter's instructions are compared with the CPU's on those of LIBRARY.so, by default
# build/libsparamx.so.
# Last line: "N passed, N failed, N skipped".
set -uo pipefail
here=$(dirname "$(realpath "$0")")
. "$here/tally.sh"
mkdir -p "$1"
logs=$(realpath "$1")
library=$(realpath -m "${2:-$here/../build/libsparamx.so}")
out=$(mktemp -d) # a path in LD_PRELOAD cannot have a space in it, and the caller's may
trap 'rm -rf "$out"' EXIT
cd "$here/emulator" || exit 1
cc=${CC:-cc}
./build.sh "$out" &&
    "$cc" -std=gnu11 -O3 -Wall -Wextra -Werror -Iinclude ./*.c selftest/*.c -lm -pthread -o "$out/selftest" || exit 1
tally "emulator: selftest" "$logs/selftest.log" "$out/selftest"
tally "emulator: preload_selftest.py" "$logs/preload_selftest.log" env "CC=$cc" python3 preload/preload_selftest.py \
    "$out/libtile-emulator.so"

# The interpreter of AVX-512, where the CPU has what it computes with.
if [ ! -e /usr/include/Zydis/Zydis.h ] || ! grep -qw avx2 /proc/cpuinfo; then
    tally_skip 2 "emulator: interpreter: it needs libzydis-dev and a CPU with AVX2"
else
    flags=(-std=gnu11 -O1 -Wall -Wextra -Werror -mavx2 -mfma -mf16c -mbmi -mbmi2 -mpopcnt -fno-strict-aliasing \
        -Iinclude -Iinterpreter/include)
    objects=()
    for source in interpreter/*.c; do
        case $source in */enter.c | */blocked.c | */trace.c) continue ;; esac
        objects+=("$out/$(basename "$source" .c).o")
        "$cc" "${flags[@]}" -c "$source" -o "${objects[-1]}" || exit 1
    done
    for test in native_test threads_test; do
        "$cc" "${flags[@]}" "interpreter/selftest/$test.c" "${objects[@]}" -lZydis -pthread -o "$out/$test" || exit 1
    done
    tally "emulator: threads_test" "$logs/threads_test.log" "$out/threads_test"
    if [ -e "$library" ]; then
        tally "emulator: native_test" "$logs/native_test.log" "$out/native_test" "$library"
    else
        tally_skip 1 "emulator: native_test: there is no $library"
    fi
fi
tally_end
