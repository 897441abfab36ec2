#!/usr/bin/env bash
# compare/run.sh OLDLIBDIR NEWLIBDIR OUTDIR [--kernel TEXT] - whether two builds of the library compute the same bits
# with every kernel that both have, and pack alike. Each kernel that differs, or that only one of them has, is named.
# Without AMX in the CPU the AMX kernels run on the tile emulator; with SPARAMX_INTERPRET=1 and no AVX-512 all of them
# are interpreted.
# Last line: "N passed, N failed, N skipped", in kernels and packed forms.
set -uo pipefail
here=$(dirname "$(realpath "$0")")
[ $# -ge 3 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2; }
mkdir -p "$3"
old=$(realpath "$1") new=$(realpath "$2") out=$(realpath "$3")
shift 3

printed() { # printed LIBDIR NAME ARGUMENTS...
    local lib=$1 folder=$out/$2 path=$1 preload=
    shift 2
    mkdir -p "$folder"
    "${CC:-cc}" -std=c11 -O2 -I "$here/../../include" -I "$here/../abi" "$here/results.c" "$here/../abi/support.c" \
        "$here/../abi/types.c" "$here"/../../examples/common/quants{,_plain,_k}.c -o "$folder/results" -L "$lib" \
        -lsparamx -lpthread -lm || return 1
    if ! grep -qw amx_tile /proc/cpuinfo && { grep -qw avx512_bf16 /proc/cpuinfo ||
        [ "${SPARAMX_INTERPRET:-}" = 1 ]; }; then
        "$here/../emulator/build.sh" "$folder" "$lib/libsparamx.so.0" >"$folder/emulator.log" 2>&1 || return 1
        path=$folder/emulated:$folder preload=libtile-emulator.so
    fi
    LD_LIBRARY_PATH=$path LD_PRELOAD=$preload "$folder/results" "$@" >"$folder/results.txt"
}

printed "$old" old "$@" || { echo "0 passed, 1 failed, 0 skipped"; exit 1; }
printed "$new" new "$@" || { echo "0 passed, 1 failed, 0 skipped"; exit 1; }
python3 - "$out/old/results.txt" "$out/new/results.txt" <<'END'
import sys
old, new = ({name: value for name, value in map(str.split, open(path))} for path in sys.argv[1:])
passed = failed = skipped = 0
for name in [*old, *(name for name in new if name not in old)]:
    if name not in old or name not in new:
        skipped += 1
        print(f"SKIPPED 1: {name}: only the {'old' if name in old else 'new'} library has it")
    elif old[name] != new[name]:
        failed += 1
        print(f"not ok: {name}: the results differ")
    else:
        passed += 1
print(f"{passed} passed, {failed} failed, {skipped} skipped")
sys.exit(failed > 0 or passed == 0)
END
