#!/usr/bin/env bash
# swift.sh BUILDDIR LEVEL|thread-sanitizer - runs the unit tests of Tests/SparamxTests with SPARAMX_ISA set to LEVEL,
# or those about concurrency under the thread sanitizer. All output goes to BUILDDIR/test-logs, what matters of it is
# shown.
# Last line: "N passed, N failed, N skipped", in tests.
#
# At a lower level the tests of higher ones do not run, which is the point: they are not counted as skipped.
set -uo pipefail
cd "$(dirname "$0")/.."
build=$1 level=$2
mkdir -p "$build/test-logs"
log=$build/test-logs/swift-test-$level.log
unset CC SPARAMX_ISA
export SPARAMX_ORDINARY_SWIFT=1

# With SPARAMX_INTERPRET=1, no AVX-512 in the CPU, and Zydis (libzydis-dev), Tests/emulator/interpreter runs the
# kernels.
if [ "${SPARAMX_INTERPRET:-}" = 1 ] && [ "$level" != thread-sanitizer ] && ! grep -qw avx512f /proc/cpuinfo &&
    [ -e /usr/include/Zydis/Zydis.h ]; then
    export SPARAMX_INTERPRETED=1
fi

status=0
if [ "$level" = thread-sanitizer ]; then
    swift test --sanitize=thread -c release --scratch-path "$build/swift-tsan" --filter Concurrency >"$log" 2>&1 ||
        status=$?
else
    SPARAMX_ISA=$level swift test -c release --scratch-path "$build/swift-test" >"$log" 2>&1 || status=$?
fi

count() { grep -cE "^Test Case '[^']+' $1 \(" "$log"; }
passed=$(count passed) failed=$(count failed) skipped=$(count skipped)
capped=$(grep -cE '^SKIPPED 1: .*: SPARAMX_ISA=' "$log")
skipped=$((skipped > capped ? skipped - capped : 0))
grep -E '^SKIPPED ' "$log" | grep -v ': SPARAMX_ISA='
grep -E '^AMX kernels run on' "$log" | head -n 1
grep -E '^AVX-512 kernels are' "$log" | head -n 1
grep -E ': error: |^error: |^Fatal error' "$log" | head -n 10 | sed 's/^/not ok: /'
if grep -q 'WARNING: ThreadSanitizer' "$log"; then
    echo "not ok: the thread sanitizer has found something, see $log"
    failed=$((failed + 1))
fi
if [ "$passed" -eq 0 ] || { [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; }; then
    echo "not ok: swift test ended with status $status; the end of $log:"
    tail -n 12 "$log"
    failed=$((failed + 1))
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$status" -eq 0 ] && [ "$failed" -eq 0 ]
