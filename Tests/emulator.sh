#!/usr/bin/env bash
# emulator.sh LOGDIR - builds the tile emulator as Tests/emulator/README.md has it and runs its self-tests.
# Last line: "N passed, N failed, N skipped".
set -uo pipefail
here=$(dirname "$(realpath "$0")")
. "$here/tally.sh"
mkdir -p "$1"
logs=$(realpath "$1")
out=$(mktemp -d) # a path in LD_PRELOAD cannot have a space in it, and the caller's may
trap 'rm -rf "$out"' EXIT
cd "$here/emulator" || exit 1
cc=${CC:-cc}
./build.sh "$out" &&
    "$cc" -std=gnu11 -O3 -Wall -Wextra -Werror -Iinclude ./*.c selftest/*.c -lm -pthread -o "$out/selftest" || exit 1
tally "emulator: selftest" "$logs/selftest.log" "$out/selftest"
tally "emulator: preload_selftest.py" "$logs/preload_selftest.log" env "CC=$cc" python3 preload/preload_selftest.py "$out/libtile-emulator.so"
tally_end
