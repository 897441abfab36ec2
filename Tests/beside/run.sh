#!/usr/bin/env bash
# beside/run.sh LIBDIR OUTDIR - the library in LIBDIR beside others in one process. Logs are in OUTDIR. Last line: "N
# passed, N failed, N skipped".
set -uo pipefail
here=$(dirname "$(realpath "$0")")
. "$here/../tally.sh"
mkdir -p "$2"
lib=$(realpath "$1") out=$(realpath "$2")
cc=${CC:-cc}
strict=(-std=c11 -O2 -g -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Werror "-I$here/../../include")
unset SPARAMX_ISA SPARAMX_EMU_CPUID SPARAMX_EMU_PERM_ERRNO SPARAMX_EMU_PERM_ASK SPARAMX_EMU_REPORT LD_PRELOAD

"$cc" "${strict[@]}" "$here/beside_test.c" "$here/../abi/piece.c" "$here/../abi/types.c" "$here/../abi/support.c" \
    "$here"/../../examples/common/quants{,_plain,_k}.c "-L$lib" -lsparamx -lm -lpthread -ldl -o "$out/beside_test" &&
    "$cc" "${strict[@]}" "$here/../abi/capability.c" "-L$lib" -lsparamx -o "$out/capability" ||
    { echo "0 passed, 1 failed, 0 skipped"; exit 1; }
read -r isa avx512 _ < <(LD_LIBRARY_PATH=$lib "$out/capability")
mkdir -p "$out/copy" && cp -L "$lib/libsparamx.so.0" "$out/copy/libsparamx.so.0"

# -- ordinary Swift, loaded after the library and before it ------------------------------------------------------------

toolchain=$(dirname "$(dirname "$(realpath "$(command -v swift || echo /nonexistent/bin/swift)")")")
if [ ! -x "$toolchain/bin/swiftc" ]; then
    tally_skip 2 "beside ordinary Swift: there is no swiftc"
elif ! "$toolchain/bin/swiftc" -O -emit-library -module-name neighbour "$here/neighbour.swift" \
    -o "$out/libneighbour.so" \
    >"$out/neighbour.log" 2>&1; then
    echo "not ok: the Swift neighbour does not build, see $out/neighbour.log"
    tally_failed=$((tally_failed + 1))
else
    paths=$lib:$out:$toolchain/lib/swift/linux
    tally "beside ordinary Swift" "$out/swift.log" env "LD_LIBRARY_PATH=$paths" "$out/beside_test" swift \
        "$out/libneighbour.so" "$out/copy/libsparamx.so.0"
    tally "ordinary Swift was there first" "$out/swift-first.log" env "LD_LIBRARY_PATH=$paths" \
        LD_PRELOAD=libneighbour.so \
        "$out/beside_test" swift "$out/libneighbour.so" "$out/copy/libsparamx.so.0"
fi

tally "beside a copy of itself" "$out/twice.log" env "LD_LIBRARY_PATH=$lib" "$out/beside_test" twice \
    "$out/copy/libsparamx.so.0"

# -- somebody else's tiles, and two copies that both use them ----------------------------------------------------------

if [ "$isa" = 2 ]; then
    tally "beside other tile code" "$out/tiles.log" env "LD_LIBRARY_PATH=$lib" "$out/beside_test" tiles
elif [ "$avx512" -eq 0 ]; then
    mkdir -p "$out/emulated-copy"
    "$here/../emulator/build.sh" "$out" "$lib/libsparamx.so.0" &&
        cp "$out/emulated/libsparamx.emulated.so" "$out/emulated-copy/libsparamx.emulated.so"
    emulated=("LD_LIBRARY_PATH=$out/emulated:$out" LD_PRELOAD=libtile-emulator.so)
    tally "beside other tile code, emulated" "$out/tiles.log" env "${emulated[@]}" "$out/beside_test" tiles
    tally "beside a copy of itself, amx emulated" "$out/twice-amx.log" env "${emulated[@]}" "$out/beside_test" twice \
        "$out/emulated-copy/libsparamx.emulated.so"
else
    tally_skip 2 "beside other tile code: no AMX, and the emulator needs AVX-512"
fi
tally_end
