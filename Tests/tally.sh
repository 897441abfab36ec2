# tally.sh - for bash scripts that run tests: sums what they report. Sourced, never run.
#
# A test ends with a line "N passed, N failed, N skipped". One that ends otherwise, or with an exit status that does not
# fit its count, has failed once more. Lines "not ok: ..." say what failed, lines "SKIPPED N: ..." what was left out.
# shellcheck shell=bash

tally_passed=0 tally_failed=0 tally_skipped=0
tally_skips=() # reasons, for the end
tally_limit=${TALLY_LIMIT:-900} # seconds for one test

# tally NAME LOG COMMAND...: runs a test, shows one line about it and what failed, adds it up. With TALLY_SHOW=1 its
# output is shown as it comes, but for its count.
tally() {
    local name=$1 log=$2 status=0 line passed failed skipped seconds=$SECONDS
    local count='^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$'
    shift 2
    if [ "${TALLY_SHOW:-0}" = 1 ]; then
        TALLY_SHOW=0 timeout --kill-after=10 "$tally_limit" "$@" 2>&1 | tee "$log" | grep --line-buffered -vE "$count" |
            sed -u 's/^/    /'
        status=${PIPESTATUS[0]}
    else
        timeout --kill-after=10 "$tally_limit" "$@" >"$log" 2>&1 || status=$?
    fi
    seconds=$((SECONDS - seconds))
    line=$(grep -E "$count" "$log" | tail -n 1)
    if [ -z "$line" ]; then
        passed=0 failed=1 skipped=0
        echo "not ok: $name ended with status $status and without a count; the end of $log:"
        tail -n 15 "$log" | sed 's/^/    /'
    else
        read -r passed _ failed _ skipped _ <<<"${line//,/ }"
        if { [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; } || { [ "$status" -eq 0 ] && [ "$failed" -gt 0 ]; }; then
            failed=$((failed + 1))
            echo "not ok: $name counts $line and ends with status $status"
        fi
    fi
    printf '%-44s %7d passed, %d failed, %d skipped  (%d s)\n' "$name" "$passed" "$failed" "$skipped" "$seconds"
    [ "$failed" -eq 0 ] || [ "${TALLY_SHOW:-0}" = 1 ] || grep -E '^(not ok|FAILED)' "$log" | head -n 6 | sed 's/^/    /'
    while IFS= read -r line; do tally_skips+=("$name: $line"); done < <(grep -E '(^|: )SKIPPED [0-9]+: ' "$log")
    tally_passed=$((tally_passed + passed)) tally_failed=$((tally_failed + failed))
    tally_skipped=$((tally_skipped + skipped))
}

# tally_skip COUNT REASON: a test that cannot run here.
tally_skip() {
    tally_skipped=$((tally_skipped + $1))
    tally_skips+=("SKIPPED $1: $2")
}

# The last lines: what was left out and why, then the sum. False if anything failed.
tally_end() {
    local reason
    for reason in "${tally_skips[@]}"; do echo "$reason"; done
    echo "$tally_passed passed, $tally_failed failed, $tally_skipped skipped"
    [ "$tally_failed" -eq 0 ]
}
