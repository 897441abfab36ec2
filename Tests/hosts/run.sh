#!/usr/bin/env bash
# Builds stock llama.cpp in both kinds (once; cached outside the clone), the plugin, and runs the host tests.
# Arguments go to pytest (files by their names here). The last line is "N passed, N failed, N skipped".
set -uo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$(cd -- "$here/../.." && pwd)
. "$here/../pytest.sh"

if ! [ -e "${SPARAMX_TEST_LIBRARY:-$root/build/libsparamx.so}" ] &&
    ! [ -e "$root/build/swift/release/libsparamx.so" ]; then
    (cd "$root" && swift build -c release --disable-local-rpath --scratch-path build/swift --product sparamx) || exit 2
fi
run_pytest "$here" hosts "$@"
