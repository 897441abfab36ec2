#!/usr/bin/env bash
# examples/run.sh BUILDDIR OUTDIR [EMULATED] - runs the example programs of BUILDDIR on small models, without the library
# and with it under every level of SPARAMX_ISA, and checks what they print and the JSON they write. EMULATED: the folder
# that Tests/abi/run.sh wrote the tile emulator and the patched library to, for the AMX level on CPUs without AMX.
# Last line: "N passed, N failed, N skipped".
set -uo pipefail
here=$(dirname "$(realpath "$0")")
root=$(realpath "$here/../..")
. "$here/../tally.sh"
mkdir -p "$2"
build=$(realpath "$1") out=$(realpath "$2") emulated=${3:+$(realpath "$3")}
bin=$build/examples
passed=0 failed=0

ok() { # name, wanted status, command...: a program ends with this status
    local status=0
    "${@:3}" >"$out/last" 2>&1 || status=$?
    if [ "$status" -eq "$2" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "not ok: $1: status $status: ${*:3}"
        tail -n 8 "$out/last" | sed 's/^/    /'
    fi
}
says() { # name, pattern: the last program said so
    if grep -qE -- "$2" "$out/last"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "not ok: $1: it does not say $2"
    fi
}
json() { tally "json of $1" "$out/json.log" python3 "$here/check_json.py" "${@:2}"; }

# -- models, made as quickstart.sh makes them --------------------------------------------------------------------------

eval "$(sed -n '/^pins=(/,/)$/p' "$root/examples/quickstart.sh")"
venv=$build/venv
if [ "$(cat "$venv/pins" 2>/dev/null)" != "${pins[*]}" ]; then
    python3 -m venv --clear "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check "${pins[@]}" && echo "${pins[*]}" >"$venv/pins"
fi
if [ "$(cat "$venv/pins" 2>/dev/null)" != "${pins[*]}" ]; then
    echo "not ok: the Python packages of examples/make_model.py cannot be installed: ${pins[*]:0:3}"
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi
for type in bf16 f16 q8_0; do
    ok "make_model.py $type" 0 "$venv/bin/python" "$root/examples/make_model.py" --preset tiny --type "$type" --force "$out/$type.gguf"
done

# -- without the library, and mistakes ---------------------------------------------------------------------------------

for type in bf16 f16 q8_0; do
    ok "sparamx-run $type" 0 "$bin/sparamx-run" --repeat 1 --json "$out/plain.json" "$out/$type.gguf"
    json "sparamx-run $type" run "$out/plain.json"
done
ok "without --amx the library is not touched" 0 env SPARAMX_ISA=nonsense "$bin/sparamx-run" --repeat 1 "$out/bf16.gguf"
ok "sparamx-run without a model" 2 "$bin/sparamx-run"
ok "sparamx-run on what is no model" 2 "$bin/sparamx-run" "$root/LICENSE"
ok "sparamx-run without a library" 3 "$bin/sparamx-run" --amx=/nonexistent.so "$out/bf16.gguf"
ok "sparamx-run with an unknown level" 3 env SPARAMX_ISA=nonsense "$bin/sparamx-run" --amx "$out/bf16.gguf"
says "sparamx-run with an unknown level" SPARAMX_ISA
ok "sparamx-bench with an unknown option" 2 "$bin/sparamx-bench" --nonsense

# -- with it, under every level ----------------------------------------------------------------------------------------

read -r isa avx512 _ < <(LD_LIBRARY_PATH=$build "$emulated/capability" 2>/dev/null || echo 0 1 1)
[ -n "$emulated" ] || tally_skip 8 "the examples at the AMX level: Tests/abi has not built the emulator"
for level in reference avx512 amx; do
    library=$build/libsparamx.so
    with=(env "SPARAMX_ISA=$level")
    if [ "$level" != reference ] && [ "$avx512" -ne 0 ]; then
        tally_skip 8 "the examples at level $level: this CPU has no AVX-512 that the library can use"
        continue
    fi
    if [ "$level" = amx ] && [ "$isa" -lt 2 ]; then
        [ -n "$emulated" ] || continue
        with+=(LD_PRELOAD=libtile-emulator.so "LD_LIBRARY_PATH=$emulated/emulated:$emulated")
        library=$emulated/emulated/libsparamx.so.0
    fi
    for type in bf16 f16 q8_0; do
        ok "sparamx-run --amx $type, $level" 0 "${with[@]}" "$bin/sparamx-run" "--amx=$library" --m 1,4,40 --repeat 1 --json "$out/run.json" "$out/$type.gguf"
        json "sparamx-run --amx $type, $level" run "$out/run.json" "isa=$level"
    done
    ok "sparamx-hello, $level" 0 "${with[@]}" "$bin/sparamx-hello"
    # With emulated tiles the ceilings would take minutes.
    [ "$level" = amx ] && [ "$isa" -lt 2 ] && continue
    ok "sparamx-bench, $level" 0 "${with[@]}" "$bin/sparamx-bench" --m 1,33 --sparsity 50 --shape 64x64,96x128 --repeat 1 --seconds 1 --json "$out/bench.json"
    json "sparamx-bench, $level" bench "$out/bench.json" "isa=$level"
done
ok "sparamx-run --amx with the library beside it" 0 "$bin/sparamx-run" --amx --m 1 --repeat 1 "$out/bf16.gguf"
ok "sparamx-bench --list" 0 "$bin/sparamx-bench" --list
tally_passed=$((tally_passed + passed)) tally_failed=$((tally_failed + failed))
tally_end
