#!/usr/bin/env bash
# sandbox/run.sh LIBDIR OUTDIR - the library in LIBDIR in processes that may do less than usual. Logs are in OUTDIR.
# Last line: "N passed, N failed, N skipped".
#
# Where the CPU has no AMX the library has nothing to ask the kernel for. There the tests about that question run on the
# tile emulator: a copy of the library sees a CPU with AMX, asks the real kernel, and a real filter answers.
set -uo pipefail
here=$(dirname "$(realpath "$0")")
. "$here/../tally.sh"
mkdir -p "$2"
lib=$(realpath "$1") out=$(realpath "$2")
cc=${CC:-cc}
strict=(-std=c11 -O2 -g -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Werror "-I$here/../abi"
    "-I$here/../../include")
shared=("$here/../abi/piece.c" "$here/../abi/types.c" "$here/../abi/support.c"
    "$here"/../../examples/common/quants{,_plain,_k}.c "-L$lib" -lsparamx -lm -lpthread -ldl)
unset SPARAMX_ISA SPARAMX_EMU_CPUID SPARAMX_EMU_PERM_ERRNO SPARAMX_EMU_PERM_ASK SPARAMX_EMU_REPORT LD_PRELOAD

"$cc" "${strict[@]}" "$here/sandboxed.c" -o "$out/sandboxed" &&
    "$cc" "${strict[@]}" "$here/sandbox_test.c" "${shared[@]}" -o "$out/sandbox_test" &&
    "$cc" "${strict[@]}" "$here/memory_limit_test.c" "${shared[@]}" -o "$out/memory_limit_test" &&
    "$cc" "${strict[@]}" "$here/../abi/isa_test.c" "${shared[@]}" -o "$out/isa_test" &&
    "$cc" "${strict[@]}" "$here/../abi/capability.c" "${shared[@]}" -o "$out/capability" &&
    "$here/../emulator/build.sh" "$out" "$lib/libsparamx.so.0" || { echo "0 passed, 1 failed, 0 skipped"; exit 1; }

read -r isa avx512 amx < <(LD_LIBRARY_PATH=$lib "$out/capability")
plain=("LD_LIBRARY_PATH=$lib")
emulated=("LD_LIBRARY_PATH=$out/emulated:$out" LD_PRELOAD=libtile-emulator.so SPARAMX_EMU_PERM_ASK=kernel)
[ "$isa" = 2 ] && asking=("${plain[@]}") || asking=("${emulated[@]}")

under() { # NAME RULE VARIABLES... -- TEST ARGUMENTS...
    local name=$1 rule=$2 variables=()
    shift 2
    while [ "$1" != -- ]; do variables+=("$1"); shift; done
    shift
    tally "$name" "$out/${name//[^A-Za-z0-9]/_}.log" env "${variables[@]}" "$out/sandboxed" "$rule" "$out/$1" "${@:2}"
}

# -- a filter in front of the kernel's permission for AMX --------------------------------------------------------------

filter_works=1
"$out/sandboxed" amx=EPERM true 2>/dev/null || filter_works=0
if [ "$filter_works" = 0 ]; then
    tally_skip 8 "seccomp filters: this kernel or container does not allow one"
elif [ "$avx512" -ne 0 ]; then
    tally_skip 5 "a filter in front of AMX: the CPU has no AVX-512 that the library can use, so AMX is not asked for"
else
    under "filter: EPERM" amx=EPERM "${asking[@]}" -- isa_test 1 0 22 1
    under "filter: EINVAL" amx=EINVAL "${asking[@]}" -- isa_test 1 0 22 22
    under "filter: ENOSYS" amx=ENOSYS "${asking[@]}" -- isa_test 1 0 23 38
    under "filter: ENOSPC" amx=ENOSPC "${asking[@]}" -- isa_test 1 0 24 28
    # The filter is what decides: without a refusal AMX is used.
    if [ "$isa" = 2 ]; then tally "no filter" "$out/no_filter.log" env "${plain[@]}" "$out/isa_test" 2 0 0
    else under "filter: granted" amx=0 "${asking[@]}" -- isa_test 2 0 0; fi
fi
if [ "$filter_works" = 1 ] && [ "$amx" = 21 ]; then
    # A CPU without AMX: the kernel is never asked, or the filter would end the process.
    under "never asked without AMX" amx=kill "${plain[@]}" -- isa_test
elif [ "$filter_works" = 1 ]; then
    tally_skip 1 "that a CPU without AMX is never asked about: this one has AMX"
fi

# -- the rest, as this machine is, and with AMX if only the emulator has it --------------------------------------------

parts=(signal-stack small-stack early-threads fork)
[ "$filter_works" = 1 ] && parts+=(strict)
for part in "${parts[@]}"; do tally "$part" "$out/$part.log" env "${plain[@]}" "$out/sandbox_test" "$part"; done
if [ "$isa" = 1 ]; then
    for part in early-threads fork; do
        tally "$part, amx emulated" "$out/$part-amx.log" env "LD_LIBRARY_PATH=$out/emulated:$out" \
            LD_PRELOAD=libtile-emulator.so "$out/sandbox_test" "$part"
    done
fi
tally "memory limits" "$out/memory_limit_test.log" env "${plain[@]}" "$out/memory_limit_test"

group= limit=
for place in "/sys/fs/cgroup/memory memory.limit_in_bytes" "/sys/fs/cgroup memory.max"; do
    folder=${place% *}/sparamx-test-$$
    { [ -e "$folder/../cgroup.procs" ] || [ -e "${place% *}/cgroup.procs" ]; } && mkdir "$folder" 2>/dev/null ||
        continue
    if echo 67108864 2>/dev/null >"$folder/${place#* }"; then group=$folder limit=$folder/${place#* }; break; fi
    rmdir "$folder"
done
if [ -n "$group" ] && [ "$(cat "$limit")" = 67108864 ]; then
    tally "a limit that kills" "$out/cgroup.log" env "${plain[@]}" "$out/memory_limit_test" "$group"
    for _ in 1 2 3 4 5; do rmdir "$group" 2>/dev/null && break; sleep 0.2; done
    [ ! -e "$group" ] || { echo "not ok: something still lives in $group"; tally_failed=$((tally_failed + 1)); }
else
    tally_skip 1 "a memory cgroup that kills in the middle of packing: no cgroup can be made here"
fi
tally_end
