#!/usr/bin/env bash
# emulator/build.sh OUTDIR [LIBRARY] - makes OUTDIR/libtile-emulator.so and, for a libsparamx.so, the copy whose CPUID
# the emulator answers: OUTDIR/emulated/libsparamx.emulated.so, and a link to it under its soname.
#
#   LD_LIBRARY_PATH=OUTDIR/emulated:OUTDIR LD_PRELOAD=libtile-emulator.so TEST
#
# Preloaded by name, because a path in LD_PRELOAD cannot have a space in it. The compiler is $CC or cc.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
mkdir -p "$1"
# initfirst: the signal handler is there before the constructors of other libraries run.
"${CC:-cc}" -std=gnu11 -O3 -Wall -Wextra -Werror -fPIC "-I$here/include" -shared "$here"/*.c \
    "$here/preload/preload.c" -Wl,-z,initfirst -o "$1/libtile-emulator.so"
[ $# -gt 1 ] || exit 0
mkdir -p "$1/emulated"
python3 "$here/preload/patch_cpuid.py" "$2" "$1/emulated/libsparamx.emulated.so" >/dev/null
ln -sf libsparamx.emulated.so "$1/emulated/libsparamx.so.0" # a link keeps ".emulated." in the file's real name
