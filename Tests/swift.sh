#!/usr/bin/env bash
# swift.sh BUILDDIR LEVEL|thread-sanitizer - runs the unit tests of Tests/SparamxTests with SPARAMX_ISA set to LEVEL, or
# those about concurrency under the thread sanitizer. Last line: "N passed, N failed, N skipped", in tests.
#
# At a lower level the tests of higher ones do not run, which is the point: they are not counted as skipped.
set -uo pipefail
cd "$(dirname "$0")/.."
build=$1 level=$2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export SPARAMX_ORDINARY_SWIFT=1
unset CC SPARAMX_ISA

status=0
if [ "$level" = thread-sanitizer ]; then
    swift test --sanitize=thread -c release --scratch-path "$build/swift-tsan" --filter Concurrency 2>&1 | tee "$log" || status=$?
    if grep -q 'WARNING: ThreadSanitizer' "$log"; then
        echo "not ok: the thread sanitizer has found something"
        status=1
    fi
else
    SPARAMX_ISA=$level swift test -c release --scratch-path "$build/swift-test" 2>&1 |
        sed -u '/: SPARAMX_ISA=/s/^SKIPPED 1:/left to a higher level:/' | tee "$log" || status=$?
fi

count() { grep -cE "^Test Case '[^']+' $1 \(" "$log"; }
passed=$(count passed) failed=$(count failed) skipped=$(count skipped)
capped=$(grep -c '^left to a higher level:' "$log")
skipped=$((skipped > capped ? skipped - capped : 0))
[ "$level" = thread-sanitizer ] && grep -q 'WARNING: ThreadSanitizer' "$log" && failed=$((failed + 1))
grep -E "error: -\[|: error: " "$log" | head -n 10 | sed 's/^/not ok: /'
if [ "$passed" -eq 0 ]; then
    echo "not ok: no test ran"
    failed=$((failed + 1))
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$status" -eq 0 ] && [ "$failed" -eq 0 ]
