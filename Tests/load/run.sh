#!/usr/bin/env bash
# load/run.sh LIBDIR OUTDIR [SECONDS] - a host with 16 threads against the library in LIBDIR for SECONDS (default 10;
# the long form is 600), the same under the thread sanitizer for a shorter time, without leave to make anything, and
# killed at random moments. Logs are in OUTDIR. Last line: "N passed, N failed, N skipped".
set -uo pipefail
here=$(dirname "$(realpath "$0")")
. "$here/../tally.sh"
mkdir -p "$2"
lib=$(realpath "$1") out=$(realpath "$2")
seconds=${3:-10}
tally_limit=$((seconds * 2 + 600))
cc=${CC:-cc}
sources=("$here/load_test.c" "$here/jobs.c" "$here/../abi/piece.c" "$here/../abi/types.c" "$here/../abi/support.c"
    "$here"/../../examples/common/quants{,_plain,_k}.c)
strict=(-std=c11 -g -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Werror "-I$here/../../include")
unset SPARAMX_ISA SPARAMX_EMU_CPUID SPARAMX_EMU_PERM_ERRNO SPARAMX_EMU_PERM_ASK SPARAMX_EMU_REPORT LD_PRELOAD

"$cc" -O2 "${strict[@]}" "${sources[@]}" "-L$lib" -lsparamx -lm -lpthread -ldl -o "$out/load_test" &&
    "$cc" -std=gnu11 -O2 -Wall -Wextra -Werror -fPIC -fvisibility=hidden -shared -Wl,-soname,libnodes.so \
        "$here/../abi/nodes.c" -ldl -o "$out/libnodes.so" &&
    "$cc" -O2 "${strict[@]}" "$here/../sandbox/sandboxed.c" -o "$out/sandboxed" &&
    "$cc" -O2 "${strict[@]}" "$here/../abi/capability.c" "-L$lib" -lsparamx -o "$out/capability" ||
    { echo "0 passed, 1 failed, 0 skipped"; exit 1; }
plain=("LD_LIBRARY_PATH=$lib")
read -r isa avx512 _ < <(LD_LIBRARY_PATH=$lib "$out/capability")

roaming=(NODES=roam LD_PRELOAD=libnodes.so) # a machine with memory nodes
tally "load, $seconds s" "$out/load.log" env "LD_LIBRARY_PATH=$lib:$out" "${roaming[@]}" "$out/load_test" "$seconds"
grep -E '^(level|resident|[0-9]+ jobs)' "$out/load.log" | sed 's/^/    /'

# The AMX kernels, where only the emulator has them: a trap for each tile instruction, so far fewer jobs.
if [ "$isa" = 1 ]; then
    "$here/../emulator/build.sh" "$out" "$lib/libsparamx.so.0"
    tally "load, amx emulated" "$out/load-amx.log" env "LD_LIBRARY_PATH=$out/emulated:$out" \
        LD_PRELOAD=libtile-emulator.so \
        "$out/load_test" $((seconds < 60 ? 10 : seconds / 6))
    grep -E '^(level|resident|[0-9]+ jobs)' "$out/load-amx.log" | sed 's/^/    /'
elif [ "$avx512" -ne 0 ]; then
    tally_skip 1 "load on the AMX kernels: the emulator needs AVX-512"
fi

# -- nothing is left behind --------------------------------------------------------------------------------------------

# What cannot make a file, shared memory or a process leaves none, whenever it is killed.
if "$out/sandboxed" traceless true 2>/dev/null; then
    tally "load without leave to make anything" "$out/traceless.log" env "${plain[@]}" "$out/sandboxed" traceless \
        "$out/load_test" 3
else
    tally_skip 1 "load without leave to make anything: no seccomp filter can be set here"
fi
namespace=()
for try in "unshare --mount --propagation private" "unshare --map-root-user --mount --propagation private"; do
    $try mount -t tmpfs none /mnt 2>/dev/null && { read -ra namespace <<<"$try"; break; }
done
if [ ${#namespace[@]} -gt 0 ]; then
    tally "killed at any moment" "$out/kill.log" "${namespace[@]}" python3 "$here/kill_host.py" "$lib" \
        "$out/load_test" 30
else
    tally_skip 1 "hosts killed at random moments: no mount namespace can be made here"
fi

# -- the thread sanitizer ----------------------------------------------------------------------------------------------

# The library itself built with it, in the ordinary mode of Swift, whose runtime the sanitizer knows.
toolchain=$(dirname "$(dirname "$(realpath "$(command -v swift || echo /nonexistent/bin/swift)")")")
swift=$toolchain/bin/swift
if [ ! -x "$toolchain/bin/clang" ]; then
    tally_skip 1 "load under the thread sanitizer: there is no Swift toolchain with clang"
elif ! SPARAMX_ORDINARY_SWIFT=1 env -u CC "$swift" build -c release --sanitize=thread --product sparamx \
    --package-path "$here/../.." --scratch-path "$lib/swift-tsan-library" >"$out/tsan-build.log" 2>&1 ||
    ! "$toolchain/bin/clang" -fsanitize=thread -O1 "${strict[@]}" "${sources[@]}" "-L$lib/swift-tsan-library/release" \
        -lsparamx -lm -lpthread -ldl "-L$toolchain/lib/swift/linux" -ldispatch -lBlocksRuntime \
        "-Wl,-rpath,$toolchain/lib/swift/linux" -o "$out/load_tsan" >>"$out/tsan-build.log" 2>&1; then
    echo "not ok: the library or the test does not build with the thread sanitizer, see $out/tsan-build.log"
    tally_failed=$((tally_failed + 1))
else
    # A report of the sanitizer makes its exit status 66. Under it the reference takes minutes to make what is expected
    # of all weights: a seventh of them, of nearly every type, has all the ways that threads meet in.
    few=1
    [ "$avx512" -eq 0 ] || [ "$seconds" -ge 60 ] || few=7
    tally "load under the thread sanitizer" "$out/tsan.log" env \
        "LD_LIBRARY_PATH=$lib/swift-tsan-library/release:$out" "${roaming[@]}" LOAD_MEMORY_UNCHECKED=1 LOAD_EVERY=$few \
        "$out/load_tsan" $((seconds < 60 ? 15 : seconds / 4))
    grep -E '^[0-9]+ jobs|^WARNING|^SUMMARY' "$out/tsan.log" | sort | uniq -c | sort -rn | head -n 5 | sed 's/^/    /'
fi
tally_end
