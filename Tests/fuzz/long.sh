#!/usr/bin/env bash
# long.sh OUT [EXECUTIONS] [VARIANT] - fuzzes all targets in turn, one process at a time, until all of them together
# have had EXECUTIONS inputs (100000000) in VARIANT (fast; or address, which is ten times slower). Each turn is a
# minute. What has been counted stands in OUT/counts-VARIANT, so it can be ended at any moment and goes on where it
# was; corpora grow in OUT/corpus and begin with the seeds. Ends at the first input that breaks something and says
# where it is. FUZZ_TARGETS and FUZZ_SLICE (seconds) change the turns.
set -uo pipefail
here=$(dirname "$(realpath "$0")")
mkdir -p "$1"
out=$(realpath "$1") goal=${2:-100000000} variant=${3:-fast}
[ -n "${FUZZ_NO_BUILD:-}" ] || python3 "$here/build.py" "$out" "$variant" || exit 1
counts=$out/counts-$variant
touch "$counts"
total() { awk '{ sum += $2 } END { printf "%d", sum }' "$counts"; }
report() {
    awk '{ runs[$1] += $2; seconds[$1] += $3 }
        END { for (t in runs) printf "%-8s %12d executions in %6d s\n", t, runs[t], seconds[t] }' "$counts" | sort
}

read -ra targets <<<"${FUZZ_TARGETS:-options op buffer packed linear file kv}"
while [ "$(total)" -lt "$goal" ]; do
    for target in "${targets[@]}"; do
        corpus=$out/corpus/$target
        mkdir -p "$corpus" "$out/found"
        log=$out/long-$target-$variant.log
        seeds=()
        [ -d "$here/seeds/$target" ] && seeds=("$here/seeds/$target")
        # New inputs go to the first folder.
        "$out/$variant/$target" "-max_total_time=${FUZZ_SLICE:-60}" -max_len=256 -rss_limit_mb=3000 -timeout=20 \
            -print_final_stats=1 -detect_leaks=0 "-artifact_prefix=$out/found/$target-" "$corpus" "${seeds[@]}" \
            >"$log" 2>&1
        status=$?
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
        seconds=$(sed -n 's/^Done .* in \([0-9]*\) second.*/\1/p' "$log" | tail -n 1)
        echo "$target ${runs:-0} ${seconds:-0} $(grep -oE 'cov: [0-9]+ ft: [0-9]+' "$log" | tail -n 1)" >>"$counts"
        if [ "$status" -ne 0 ]; then
            report
            grep -E 'not ok|ERROR|SUMMARY|Test unit written' "$log"
            echo "$(total) executions in all; $target ended with status $status, see $log and $out/found"
            exit 1
        fi
    done
done
report
echo "$(total) executions in all, nothing found"
