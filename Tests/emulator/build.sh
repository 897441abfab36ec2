#!/usr/bin/env bash
# emulator/build.sh OUTDIR [LIBRARY] - makes OUTDIR/libtile-emulator.so and, for a libsparamx.so, the copy whose CPUID
# the emulator answers: OUTDIR/emulated/libsparamx.emulated.so, and a link to it under its soname.
#
#   LD_LIBRARY_PATH=OUTDIR/emulated:OUTDIR LD_PRELOAD=libtile-emulator.so TEST
#
# Preloaded by name, because a path in LD_PRELOAD cannot have a space in it. The compiler is $CC or cc. With Zydis
# (Debian: libzydis-dev) the interpreter of AVX-512 is part of it.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
mkdir -p "$1"
cc=${CC:-cc}
flags=(-std=gnu11 -Wall -Wextra -Werror -fPIC "-I$here/include")
interpreter=()
if [ -e /usr/include/Zydis/Zydis.h ]; then
    objects=$(mktemp -d)
    trap 'rm -rf "$objects"' EXIT
    for source in "$here"/interpreter/*.c; do
        object=$objects/$(basename "$source" .c).o
        "$cc" "${flags[@]}" "-I$here/interpreter/include" -O2 -mavx2 -mfma -mf16c -mbmi -mbmi2 -mpopcnt \
            -fno-strict-aliasing \
            -c "$source" -o "$object"
        interpreter+=("$object")
    done
    interpreter+=(-lZydis)
    flags+=(-DWITH_INTERPRETER)
fi
# initfirst: the signal handler is there before the constructors of other libraries run.
"$cc" "${flags[@]}" -O3 -shared "$here"/*.c "$here/preload/preload.c" "${interpreter[@]}" -Wl,-z,initfirst \
    -o "$1/libtile-emulator.so"
[ $# -gt 1 ] || exit 0
mkdir -p "$1/emulated"
python3 "$here/preload/patch_cpuid.py" "$2" "$1/emulated/libsparamx.emulated.so" >/dev/null
ln -sf libsparamx.emulated.so "$1/emulated/libsparamx.so.0" # a link keeps ".emulated." in the file's real name
