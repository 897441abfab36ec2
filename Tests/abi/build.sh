#!/usr/bin/env bash
# abi/build.sh LIBDIR OUTDIR COMPILER [NAME...] - builds the C tests against the library in LIBDIR, or those named and
# what they load; warnings are errors. One check per program; last line: "N passed, N failed, N skipped".
set -uo pipefail
here=$(dirname "$(realpath "$0")")
lib=$1 out=$2 compiler=$3
wanted=" ${*:4} capability "
passed=0 failed=0
mkdir -p "$out"

build() { # output, then arguments
    [ "$wanted" = "  capability " ] || [[ $1 == lib*.so || "$wanted" == *" $1 "* ]] || return 0
    if "$compiler" -O2 -g -Wall -Wextra -Werror "${@:2}" -o "$out/$1"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "not ok: $1 does not build with $compiler"
    fi
}
link=("-L$lib" -lsparamx -lm -lpthread -ldl)
strict=(-std=c11 -Wpedantic -Wshadow -Wstrict-prototypes "-I$here/../../include")
types=("$here/types.c" "$here"/../../examples/common/quants{,_plain,_k}.c)

build libfail.so -std=gnu11 -fPIC -fvisibility=hidden -shared -Wl,-soname,libfail.so "$here/fail.c" -ldl
for test in arguments_linear_test arguments_apply_test arguments_buffer_test arguments_op_test \
    arguments_experts_test buffer_test op_test experts_test memory_test threads_test tile_state_test \
    isa_test log_test fork_test locked_test crowd_test float_test shape_test coded_test; do
    build "$test" "${strict[@]}" "$here/$test.c" "$here/support.c" "${link[@]}"
done
# Those that run over every type the library reports.
for test in api_test apply_test guard_test ladder_test replay_test thread_state_test; do
    build "$test" "${strict[@]}" "$here/$test.c" "${types[@]}" "$here/support.c" "${link[@]}"
done
# Those of packed files.
for test in file_test file_damage_test file_write_test arguments_file_test growth_test profile_test; do
    build "$test" "${strict[@]}" -rdynamic "$here/$test.c" "$here/files.c" "${types[@]}" "$here/support.c" "${link[@]}"
done
# Those of key-value caches.
for test in kv_test kv_levels_test kv_cells_test kv_file_test arguments_kv_test; do
    build "$test" "${strict[@]}" -rdynamic "$here/$test.c" "$here/kv.c" "$here/support.c" "${link[@]}"
done
build kv_manners_test "${strict[@]}" "$here/kv_manners_test.c" "$here/kv.c" "$here/support.c" "${link[@]}" \
    "$out/libfail.so"
build nth_failure_test "${strict[@]}" "$here/nth_failure_test.c" "$here/files.c" "${types[@]}" "$here/support.c" \
    "${link[@]}" "$out/libfail.so"
build quiet_test "${strict[@]}" "$here/quiet_test.c" "${types[@]}" "$here/support.c" "${link[@]}" "$out/libfail.so"
build verify_test "${strict[@]}" -rdynamic "$here/verify_test.c" "${types[@]}" "$here/support.c" "${link[@]}"
build changing_test "${strict[@]}" -rdynamic "$here/changing_test.c" "${types[@]}" "$here/support.c" "${link[@]}"
build libnodes.so -std=gnu11 -fPIC -fvisibility=hidden -shared -Wl,-soname,libnodes.so "$here/nodes.c" -ldl
build numa_test "${strict[@]}" "$here/numa_test.c" "$here/support.c" "${link[@]}" "$out/libnodes.so"
build libconstructor.so -std=c11 "-I$here/../../include" -fPIC -shared -Wl,-soname,libconstructor.so \
    "$here/constructor.c" "-L$lib" -lsparamx
for test in once_test refusal_test; do # their own functions stand before libc's
    build "$test" "${strict[@]}" -rdynamic "$here/$test.c" "$here/support.c" "${link[@]}"
done
build asks_test "${strict[@]}" -rdynamic "$here/asks_test.c" "$here/piece.c" "${types[@]}" "$here/support.c" \
    "${link[@]}"
build unload_test "${strict[@]}" "$here/unload_test.c" -ldl # does not link to the library
build capability "${strict[@]}" "$here/capability.c" "-L$lib" -lsparamx
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
