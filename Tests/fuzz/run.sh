#!/usr/bin/env bash
# fuzz/run.sh BUILD OUT [SECONDS] - builds the fuzz targets into OUT with the address sanitizer, replays all seeds and
# all inputs that once broke something, and fuzzes each target for SECONDS (4). BUILD is not needed: the targets have a
# library of their own, with coverage. What is found lies in OUT/found. Last line: "N passed, N failed, N skipped", in
# inputs replayed and targets fuzzed. The long form is Tests/fuzz/long.sh.
set -uo pipefail
here=$(dirname "$(realpath "$0")")
. "$here/../tally.sh"
mkdir -p "$2/found"
out=$(realpath "$2") seconds=${3:-4}
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 SPARAMX_ISA=

if ! echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d && n > 99; }' |
    clang -x c - -fsanitize=fuzzer,address,undefined -o "$out/probe" 2>"$out/probe.log"; then
    tally_skip 7 "fuzzing: this clang has no libFuzzer (Debian: clang, libclang-rt-dev)"
    tally_end
    exit 0
fi
python3 "$here/build.py" "$out" address >"$out/build.log" 2>&1 || {
    tail -n 20 "$out/build.log"
    echo "not ok: the fuzz targets do not build"
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
}

# What went wrong, in a line or two.
why() {
    grep -hE '^not ok|ERROR: |runtime error|SUMMARY|Test unit written' "$1" | head -n 5 |
        sed 's/^\(not ok: \)*/not ok: /'
}

for target in options op buffer packed linear file kv; do
    program=$out/address/$target log=$out/$target.log
    folders=("$here/seeds/$target")
    [ ! -d "$here/crashes/$target" ] || folders+=("$here/crashes/$target")
    count=$(find "${folders[@]}" -type f | wc -l)
    # The first folder is where new inputs would go.
    mkdir -p "$out/new/$target"
    if "$program" "-max_total_time=$seconds" -max_len=256 -timeout=60 -rss_limit_mb=3000 -print_final_stats=1 \
        "-artifact_prefix=$out/found/$target-" "$out/new/$target" "${folders[@]}" >"$log" 2>&1; then
        tally_passed=$((tally_passed + count + 1))
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        echo "$target: $count inputs replayed, $runs runs, $(grep -oE 'cov: [0-9]+ ft: [0-9]+' "$log" | tail -n 1)"
    else
        echo "not ok: $target"
        why "$log"
        tally_failed=$((tally_failed + 1))
    fi
done

# Memory that ends a byte too early is seen: the red zones are where they should be.
if FUZZ_BREAK=1 "$out/address/linear" -runs=1 "-artifact_prefix=$out/break-" "$here/seeds/linear" \
    >"$out/break.log" 2>&1; then
    echo "not ok: a mapping that is a byte too short goes unseen"
    tally_failed=$((tally_failed + 1))
elif grep -q 'AddressSanitizer' "$out/break.log"; then
    tally_passed=$((tally_passed + 1))
else
    why "$out/break.log"
    tally_failed=$((tally_failed + 1))
fi
tally_end
