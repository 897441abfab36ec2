#!/usr/bin/env bash
# abi/run.sh LIBDIR OUTDIR [TEST...] - builds the C tests against the library in LIBDIR and runs them (or those named)
# under every level of SPARAMX_ISA. Without AMX in the CPU the AMX level runs on the tile emulator, with a copy of the
# library whose CPUID it answers; with SPARAMX_INTERPRET=1 and no AVX-512 in the CPU both levels are interpreted. Logs
# are in OUTDIR. Last line: "N passed, N failed, N skipped".
# With ABI_QUICK=1 (Tests/mutants) nothing is built but the tests named, by the first compiler alone.
set -uo pipefail
here=$(dirname "$(realpath "$0")")
. "$here/../tally.sh"
mkdir -p "$2"
lib=$(realpath "$1") out=$(realpath "$2")
shift 2
tests=(api_test growth_test arguments_linear_test arguments_apply_test arguments_buffer_test arguments_op_test
    arguments_experts_test apply_test buffer_test op_test experts_test memory_test threads_test isa_test ladder_test
    replay_test tile_state_test unload_test guard_test quiet_test asks_test verify_test changing_test log_test fork_test
    locked_test thread_state_test once_test refusal_test crowd_test float_test shape_test coded_test file_test
    file_damage_test file_write_test arguments_file_test profile_test numa_test nth_failure_test
    kv_test kv_levels_test kv_cells_test kv_file_test kv_manners_test arguments_kv_test)
[ $# -eq 0 ] || tests=("$@")
named=()
[ "${ABI_QUICK:-0}" = 0 ] || named=("${tests[@]}")

# -- build, with a second compiler for its warnings --------------------------------------------------------------------

first=${CC:-cc}
tally "build with $first" "$out/build.log" "$here/build.sh" "$lib" "$out" "$first" "${named[@]}"
[ "$tally_failed" -eq 0 ] || { tally_end; exit 1; }
for second in gcc clang; do
    [ ${#named[@]} -eq 0 ] || break
    command -v "$second" >/dev/null || { tally_skip 1 "build the C tests with $second: not installed"; continue; }
    [ "$(realpath "$(command -v "$second")")" != "$(realpath "$(command -v "$first")")" ] || continue
    tally "build with $second" "$out/build-$second.log" "$here/build.sh" "$lib" "$out/$second" "$second"
done

# Without AVX-512 it runs nothing.
if [ ${#named[@]} -eq 0 ] || [ "${SPARAMX_INTERPRET:-}" = 1 ] || grep -qw avx512_bf16 /proc/cpuinfo; then
    "$here/../emulator/build.sh" "$out" "$lib/libsparamx.so.0" || exit 1
fi

# -- where and how -----------------------------------------------------------------------------------------------------

# run_in NAME VARIABLES... -- TEST ARGUMENTS...: with the shipped library, or with the emulated copy if emulated=1.
emulated=0
run_in() {
    local name=$1 variables=() preload=()
    shift
    while [ "$1" != -- ]; do variables+=("$1"); shift; done
    shift
    local path=$lib
    if [ "$emulated" = 1 ]; then
        path=$out/emulated
        preload=(libtile-emulator.so)
    fi
    case $1 in numa_test | nth_failure_test) preload+=(libnodes.so) ;; esac # before libfail.so, which it asks
    case $1 in guard_test | quiet_test | nth_failure_test | kv_manners_test) preload+=(libfail.so) ;; esac
    [[ "$1" == guard_test || "$1" == kv_manners_test ]] && variables+=(FAIL_GUARD=1)
    # Preloaded by name: a path in LD_PRELOAD cannot have a space in it.
    tally "$name" "$out/$(tr -c 'A-Za-z0-9_\n-' _ <<<"$name").log" env "LD_LIBRARY_PATH=$path:$out" \
        "LD_PRELOAD=${preload[*]}" "${variables[@]}" "$out/$1" "${@:2}"
}
wanted() { [[ " ${tests[*]} " == *" $1 "* ]]; }

export SPARAMX_UNSTRIPPED=$lib/swift/release/libsparamx.so # for ladder_test
unset SPARAMX_ISA SPARAMX_EMU_CPUID SPARAMX_EMU_PERM_ERRNO SPARAMX_EMU_REPORT
read -r isa avx512 _ < <(LD_LIBRARY_PATH=$lib "$out/capability")
echo "this machine: level $isa (0 reference, 1 AVX-512, 2 AMX)"
interpreted=0
if [ "$avx512" -ne 0 ] && [ "${SPARAMX_INTERPRET:-}" = 1 ]; then
    read -r _ can _ < <(LD_LIBRARY_PATH=$out/emulated:$out LD_PRELOAD=libtile-emulator.so "$out/capability")
    [ "$can" -ne 0 ] || { interpreted=1; avx512=0; echo "AVX-512 is interpreted"; }
fi

no_avx512="no AVX-512 (to interpret it: SPARAMX_INTERPRET=1 and libzydis-dev)"
for level in reference avx512 amx; do
    emulated=0
    if [ "$level" != reference ] && [ "$avx512" -ne 0 ]; then
        tally_skip ${#tests[@]} "C tests at level $level: $no_avx512"
        continue
    fi
    how=$level
    if [ "$level" = avx512 ] && [ "$interpreted" -eq 1 ]; then
        emulated=1
        how="avx512, interpreted"
    fi
    if [ "$level" = amx ] && [ "$isa" -lt 2 ]; then
        emulated=1
        how="amx, emulated"
    fi
    for test in "${tests[@]}"; do
        # Only the AMX level has a tile state.
        [ "$test" = tile_state_test ] && [ "$level" != amx ] && continue
        run_in "$how: $test" "SPARAMX_ISA=$level" -- "$test"
    done
done

# -- other machines with memory nodes ----------------------------------------------------------------------------------

if wanted numa_test; then
    emulated=0
    for nodes in one no-libnuma no-lists refuse; do
        run_in "memory nodes: $nodes" SPARAMX_ISA=reference "NODES=$nodes" -- numa_test "$nodes"
    done
fi

# -- every reason not to use something ---------------------------------------------------------------------------------

if wanted isa_test; then
    emulated=0
    for name in AMX avx-512 " amx" amx1 none 2; do
        run_in "SPARAMX_ISA=$name" "SPARAMX_ISA=$name" -- isa_test wrong-name
    done
    run_in "SPARAMX_ISA empty" SPARAMX_ISA= -- isa_test
    if [ "$avx512" -ne 0 ]; then
        tally_skip 27 "refusals of AVX-512 and AMX: $no_avx512"
    else
        emulated=1
        [ "$isa" -eq 2 ] || run_in "CPU with all of it" SPARAMX_EMU_CPUID=full -- isa_test 2 0 0
        run_in "CPU without AMX" SPARAMX_EMU_CPUID=no-amx -- isa_test 1 0 21
        run_in "CPU without AVX-512" SPARAMX_EMU_CPUID=no-avx512 -- isa_test 0 20 20
        run_in "AMX hidden by the hypervisor" SPARAMX_EMU_CPUID=amx-hidden -- isa_test 1 0 25
        run_in "AVX-512 hidden by the hypervisor" SPARAMX_EMU_CPUID=avx512-hidden -- isa_test 0 25 25
        run_in "AMX refused: EPERM" SPARAMX_EMU_PERM_ERRNO=EPERM -- isa_test 1 0 22 1
        run_in "AMX refused: EINVAL" SPARAMX_EMU_PERM_ERRNO=EINVAL -- isa_test 1 0 22 22
        run_in "AMX refused: ENOSYS" SPARAMX_EMU_PERM_ERRNO=ENOSYS -- isa_test 1 0 23 38
        run_in "AMX refused: ENOSPC" SPARAMX_EMU_PERM_ERRNO=ENOSPC -- isa_test 1 0 24 28
        run_in "SPARAMX_ISA=reference on such a CPU" SPARAMX_ISA=reference -- isa_test 0 26 26
        run_in "SPARAMX_ISA=avx512 on such a CPU" SPARAMX_ISA=avx512 -- isa_test 1 0 26
        # One instruction of each extension does nothing: the self-test finds it. 28: SPARAMX_ERR_SELF_TEST.
        if [ "$interpreted" -eq 1 ]; then
            for name in vpdpbusd vpexpandb vpexpandw vpcompressb vpcompressw vdpbf16ps vcvtne2ps2bf16 vcvtph2ps \
                vfmadd231ps vfnmadd231ps; do
                run_in "CPU with a faulty $name" "SPARAMX_INTERPRET_FAULT=$name" -- isa_test 0 28 28
            done
            for name in vpermb tdpbsud tdpbf16ps tileloadd tileloaddt1 tilestored tilezero; do
                run_in "CPU with a faulty $name" "SPARAMX_INTERPRET_FAULT=$name" -- isa_test 1 0 28
            done
        else
            tally_skip 17 "faulty instructions and the self-test: they need a CPU with AVX2 and without AVX-512"
        fi
    fi
fi
tally_end
