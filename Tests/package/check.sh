# check.sh - for the scripts of this folder: one check and its line. They set out (a folder), passed and failed.

check() { # name, command...
    local log="$out/log"
    if "${@:2}" >"$log" 2>&1; then
        passed=$((passed + 1))
        echo "ok: $1"
    else
        failed=$((failed + 1))
        echo "not ok: $1: ${*:2}"
        tail -n 15 "$log" | sed 's/^/    /'
    fi
}
