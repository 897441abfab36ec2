#!/usr/bin/env bash
# examples/run.sh BUILDDIR OUTDIR [EMULATED] - runs the example programs of BUILDDIR on small models, without the
# library and with it under every level of SPARAMX_ISA, and checks what they print and the JSON they write. EMULATED:
# the folder that Tests/abi/run.sh wrote the tile emulator and the patched library to, for the AMX level on CPUs
# without AMX.
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
    python3 -m venv --clear "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check "${pins[@]}" &&
        echo "${pins[*]}" >"$venv/pins"
fi
if [ "$(cat "$venv/pins" 2>/dev/null)" != "${pins[*]}" ]; then
    echo "not ok: the Python packages of examples/make_model.py cannot be installed: ${pins[*]:0:3}"
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi
types=(bf16 f16 q8_0 q4_0 q4_1 q5_0 q5_1 mxfp4) # what make_model.py makes without a host's quantizer
for type in "${types[@]}"; do
    ok "make_model.py $type" 0 "$venv/bin/python" "$root/examples/make_model.py" --preset tiny --type "$type" \
        --force "$out/$type.gguf"
done
mixtures=(bf16 q8_0 q4_0 mxfp4)
for type in "${mixtures[@]}"; do
    ok "make_model.py $type, experts" 0 "$venv/bin/python" "$root/examples/make_model.py" --preset tiny --layers 1 \
        --experts 8 \
        --experts-used 2 --type "$type" --force "$out/experts-$type.gguf"
done
ok "make_model.py q4_k_m without a quantizer" 1 "$venv/bin/python" "$root/examples/make_model.py" --preset tiny \
    --type q4_k_m --force "$out/none.gguf"
says "make_model.py q4_k_m without a quantizer" llama-quantize
# -- the types in plain C, against the gguf package --------------------------------------------------------------------

common=$root/examples/common
ok "examples/common as a library" 0 "${CC:-cc}" -shared -fPIC -std=c11 -O2 -Wall -Wextra -Werror -I"$root/include" \
    "$common"/{quants,quants_plain,quants_k,pruned,plain,gguf_types}.c -lm -o "$out/libquants.so"
# The host's own quantizer makes the others in Tests/hosts/test_types.py; here they are random blocks: all that the
# library has and make_model.py does not make.
read -ra random < <(cd "$root/cmake" && python3 -c '
import definitions, sys
print(*(kind.symbol for kind in definitions.types() if kind.symbol not in sys.argv[1:]))' "${types[@]}")
ok "random_model.py" 0 "$venv/bin/python" "$here/random_model.py" "$out/libquants.so" "$out" "${random[@]}"
types+=("${random[@]}")
tally "check_quants.py" "$out/quants.log" "$venv/bin/python" "$here/check_quants.py" "$out/libquants.so"

# -- without the library, and mistakes ---------------------------------------------------------------------------------

for type in "${types[@]}"; do
    ok "sparamx-run $type" 0 "$bin/sparamx-run" --repeat 1 --json "$out/plain.json" "$out/$type.gguf"
    json "sparamx-run $type" run "$out/plain.json"
done
ok "sparamx-run experts" 0 "$bin/sparamx-run" --repeat 1 --m 1,40 --json "$out/plain.json" "$out/experts-bf16.gguf"
json "sparamx-run experts" run "$out/plain.json"
says "sparamx-run experts" ' 8x[0-9]+x[0-9]+ '
ok "without --amx the library is not touched" 0 env SPARAMX_ISA=nonsense "$bin/sparamx-run" --repeat 1 "$out/bf16.gguf"
ok "sparamx-run without a model" 2 "$bin/sparamx-run"
ok "sparamx-run on what is no model" 2 "$bin/sparamx-run" "$root/LICENSE"
ok "sparamx-run without a library" 3 "$bin/sparamx-run" --amx=/nonexistent.so "$out/bf16.gguf"
ok "sparamx-run with an unknown level" 3 env SPARAMX_ISA=nonsense "$bin/sparamx-run" --amx "$out/bf16.gguf"
says "sparamx-run with an unknown level" SPARAMX_ISA
ok "sparamx-bench with an unknown option" 2 "$bin/sparamx-bench" --nonsense
ok "sparamx-bench with more of the experts than there are" 2 "$bin/sparamx-bench" --experts 4 --top-k 5
ok "sparamx-bench with packing of experts" 2 "$bin/sparamx-bench" --experts 4 --pack
ok "sparamx-explain without a model" 2 "$bin/sparamx-explain"
ok "sparamx-explain on what is no model" 2 "$bin/sparamx-explain" "$root/LICENSE"
ok "sparamx-explain without a library" 3 "$bin/sparamx-explain" --library /nonexistent.so "$out/bf16.gguf"
tally "check_pack.py" "$out/pack.log" "$venv/bin/python" "$here/check_pack.py" "$build" "$out" "${types[@]}"
tally "check_hostile.py" "$out/hostile.log" "$venv/bin/python" "$here/check_hostile.py" "$bin/sparamx-explain" \
    "$out/q4_1.gguf" "$out"
tally "check_reader.py" "$out/reader.log" python3 "$here/check_reader.py" "$bin" "$out"
tally "check_manners.py" "$out/manners.log" python3 "$here/check_manners.py" "$bin" \
    "$root/examples/prune/models/trained-70.gguf" "$out"
tally "check_placement.py" "$out/placement.log" python3 "$here/check_placement.py" "$out"
cflags=(-std=c11 -O2 -Wall -Wextra -Werror -pthread)
ok "barrier_test" 0 "${CC:-cc}" "${cflags[@]}" -I"$root/examples" "$here/barrier_test.c" "$common"/{barrier,threads}.c \
    -o "$out/barrier_test"
tally "barrier_test" "$out/barrier.log" "$out/barrier_test"
mapfile -t bench < <(ls "$root"/examples/bench/*.c "$common"/{quants*,gguf_types,barrier,json,plain,pruned,text}.c \
    2>/dev/null | grep -v sparamx-bench.c)
ok "tune_test builds" 0 "${CC:-cc}" "${cflags[@]}" -I"$root/examples" -I"$root/include" "$here/tune_test.c" \
    "${bench[@]}" -L"$build" -lsparamx -lm -o "$out/tune_test"
tally "tune_test" "$out/tune.log" env "LD_LIBRARY_PATH=$build" "$out/tune_test"
# At level reference no kernel has a rival; shares of zeros are measured all the same.
ok "sparamx-bench --tune" 0 env SPARAMX_ISA=reference "$bin/sparamx-bench" --tune "$out/tuned" --type bf16,q1_0 \
    --shape 16x256 --threads 1
says "sparamx-bench --tune" 'To use it: SPARAMX_PROFILE='
ok "a profile is used" 0 env "SPARAMX_PROFILE=$out/tuned" "$bin/sparamx-explain" "$out/bf16.gguf"
ok "--tune where nothing can be written" 2 "$bin/sparamx-bench" --tune "$out/none/tuned" --type bf16

# Which of the types this library takes: one that it declines is left to the host, with a reason.
taken=()
for type in "${types[@]}"; do
    "$bin/sparamx-explain" --json "$out/$type.gguf" >"$out/explain.json"
    json "sparamx-explain $type" explain "$out/explain.json"
    if grep -q '"taken": true' "$out/explain.json"; then
        taken+=("$type")
        ok "sparamx-explain $type" 0 "$bin/sparamx-explain" "$out/$type.gguf"
        says "sparamx-explain $type" \
            'With the library this model takes [0-9.]+ MB instead of [0-9.]+ MB \([0-9]+% (less|more)\)'
    else
        ok "sparamx-explain $type" 0 "$bin/sparamx-explain" "$out/$type.gguf"
        says "sparamx-explain $type" 'takes none of the [0-9]+ tensors of this file'
        ok "sparamx-run --amx $type" 2 "$bin/sparamx-run" --amx "$out/$type.gguf"
        says "sparamx-run --amx $type" 'no weight matrix that can be multiplied'
    fi
done
echo "types that the library takes: ${taken[*]}"
declined=$((${#types[@]} - ${#taken[@]}))
[ "$declined" -eq 0 ] || tally_skip "$declined" "products of types that this library declines"

# -- with it, under every level ----------------------------------------------------------------------------------------

read -r isa avx512 _ < <(LD_LIBRARY_PATH=$build "$emulated/capability" 2>/dev/null || echo 0 1 1)
[ -n "$emulated" ] || tally_skip 8 "the examples at the AMX level: Tests/abi has not built the emulator"
for level in reference avx512 amx; do
    library=$build/libsparamx.so
    with=(env "SPARAMX_ISA=$level") types_timed=all
    [ "$level" = reference ] && types_timed=bf16,q8_0,q4_k # scalar code: all would take minutes
    if [ "$level" != reference ] && [ "$avx512" -ne 0 ]; then
        tally_skip 8 "the examples at level $level: this CPU has no AVX-512 that the library can use"
        continue
    fi
    if [ "$level" = amx ] && [ "$isa" -lt 2 ]; then
        [ -n "$emulated" ] || continue
        with+=(LD_PRELOAD=libtile-emulator.so "LD_LIBRARY_PATH=$emulated/emulated:$emulated")
        library=$emulated/emulated/libsparamx.so.0
    fi
    for type in "${taken[@]}"; do
        ok "sparamx-run --amx $type, $level" 0 "${with[@]}" "$bin/sparamx-run" "--amx=$library" --m 1,4,40 --repeat 1 \
            --json "$out/run.json" "$out/$type.gguf"
        json "sparamx-run --amx $type, $level" run "$out/run.json" "isa=$level"
    done
    for type in "${mixtures[@]}"; do
        ok "sparamx-run --amx experts $type, $level" 0 "${with[@]}" "$bin/sparamx-run" "--amx=$library" --m 1,4,40 \
            --repeat 1 --json "$out/run.json" "$out/experts-$type.gguf"
        says "sparamx-run --amx experts $type, $level" ' 8x[0-9]+x[0-9]+ .*sparse'
        json "sparamx-run --amx experts $type, $level" run "$out/run.json" "isa=$level"
    done
    ok "sparamx-hello, $level" 0 "${with[@]}" "$bin/sparamx-hello"
    ok "sparamx-kv, $level" 0 "${with[@]}" "$bin/sparamx-kv" --cells 300 --heads 2 --group 3 --dim 64 --threads 3 \
        --repeat 1
    says "sparamx-kv, $level" '^keys 30%, values 50% +[12][0-9][0-9]\.[0-9] .* 2 of 5 '
    ok "sparamx-bench --errors, $level" 0 "${with[@]}" "$bin/sparamx-bench" --errors --shape 512x512 --m 1,40 \
        --threads 1 --json "$out/errors.json"
    json "sparamx-bench --errors, $level" errors "$out/errors.json" "isa=$level"
    # With emulated tiles the ceilings would take minutes.
    [ "$level" = amx ] && [ "$isa" -lt 2 ] && continue
    ok "sparamx-bench, $level" 0 "${with[@]}" "$bin/sparamx-bench" --type "$types_timed" --m 1,33 --sparsity 50 \
        --shape 96x512 --repeat 1 --seconds 1 --json "$out/bench.json"
    json "sparamx-bench, $level" bench "$out/bench.json" "isa=$level"
    ok "sparamx-bench --experts, $level" 0 "${with[@]}" "$bin/sparamx-bench" --experts 8 --top-k 2 \
        --type "$types_timed" --m 1,33 \
        --sparsity 50 --shape 96x512 --repeat 1 --seconds 1 --json "$out/bench.json"
    json "sparamx-bench --experts, $level" bench "$out/bench.json" "isa=$level"
done
ok "sparamx-run --amx with the library beside it" 0 "$bin/sparamx-run" --amx --m 1 --repeat 1 "$out/bf16.gguf"
ok "sparamx-kv with a wrong option" 2 "$bin/sparamx-kv" --cells 0
says "sparamx-kv with a wrong option" 'sparamx-kv: --cells needs a number from 1 to 1048576'
ok "sparamx-bench --list" 0 "$bin/sparamx-bench" --list
ok "sparamx-bench --sizes" 0 "$bin/sparamx-bench" --sizes --shape 256x2048 --json "$out/sizes.json"
json "sparamx-bench --sizes" sizes "$out/sizes.json"
ok "sparamx-bench --break-even" 0 "$bin/sparamx-bench" --break-even --type bf16 --sparsity 0,60 --shape 64x256 \
    --repeat 1 --seconds 1
says "sparamx-bench --break-even" 'sparse is'
tally_passed=$((tally_passed + passed)) tally_failed=$((tally_failed + failed))
tally_end
