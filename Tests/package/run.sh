#!/usr/bin/env bash
# package/run.sh BUILDDIR OUTDIR - installs the library from BUILDDIR, moves the install tree, and builds a host
# against it with find_package, with pkg-config and with nothing but cc; and a host that takes the sources in with
# FetchContent. Each host runs. Last line: "N passed, N failed, N skipped".
set -uo pipefail
here=$(dirname "$(realpath "$0")")
root=$(realpath "$here/../..")
build=$(realpath "$1") out=$2
rm -rf "$out"
mkdir -p "$out"
out=$(realpath "$out")
passed=0 failed=0
cc=${CC:-cc}

. "$here/check.sh"
refuses() { ! "$@"; }

# Moved after it was installed, to a name with a space: nothing in it may know where it was.
check "cmake --install" cmake --install "$build" --prefix "$out/first"
mv "$out/first" "$out/install tree"
tree="$out/install tree"
libdir=$(dirname "$(find "$tree" -name libsparamx.so)")
check "the library file has its name, the others are links" test -f "$libdir/libsparamx.so.0" \
    -a -L "$libdir/libsparamx.so.0" -a -L "$libdir/libsparamx.so"
check "the header" cmp "$tree/include/sparamx.h" "$root/include/sparamx.h"
check "the header of caches" cmp "$tree/include/sparamx-kv.h" "$root/include/sparamx-kv.h"
check "no other header" test "$(find "$tree/include" -name '*.h' | wc -l)" -eq 2
check "no path of the build tree in text files" refuses grep -rIlF -e "$build" -e "$out/first" "$tree"
check "the licence" test -s "$tree/share/doc/sparamx/LICENSE"

version=$(sed -n 's/^#define SPARAMX_VERSION_STRING "\(.*\)"/\1/p' "$root/include/sparamx.h")
minor=${version%.*}

configure() { cmake -S "$here/find_package" -B "$out/$1" "-DCMAKE_PREFIX_PATH=$tree" "-DWANTED_VERSION=$2"; }
check "find_package: configure" configure find_package "$minor"
check "find_package: build" cmake --build "$out/find_package"
check "find_package: run" "$out/find_package/consumer"
check "find_package: the exact version" configure find_package_exact "$version;EXACT"
check "find_package: refuses a later version" refuses configure find_package_later 0.999
check "find_package: refuses another major version" refuses configure find_package_major 1.0

export PKG_CONFIG_PATH="$libdir/pkgconfig"
check "pkg-config: version" test "$(pkg-config --modversion sparamx)" = "$version"
pkg() {
    local flags
    flags=$(pkg-config --cflags --libs sparamx)
    eval "$cc -std=c11 -Wall -Wextra -Werror '$here/consumer.c' $flags -lm -o '$out/pkg_config'"
}
check "pkg-config: build" pkg
check "pkg-config: run" env "LD_LIBRARY_PATH=$libdir" "$out/pkg_config"

check "cc -lsparamx: build" "$cc" -std=c11 -Wall -Wextra -Werror "-I$tree/include" "$here/consumer.c" "-L$libdir" \
    -lsparamx -lm -o "$out/plain"
check "cc -lsparamx: run" env "LD_LIBRARY_PATH=$libdir" "$out/plain"
check "cc -lsparamx: needs it by its soname" grep -q 'NEEDED.*\[libsparamx\.so\.[0-9]*\]' <(readelf -d "$out/plain")

# From a source tree with a space in its name, with Ninja if it is there. The library's own project leaves a host's
# alone: no examples, no build type, nothing beside its own folder.
source="$out/source tree"
mkdir -p "$source"
cp -r "$root"/Package.swift "$root"/Sources "$root"/include "$root"/cmake "$root"/LICENSE "$source"
generator=()
command -v ninja >/dev/null && generator=(-G Ninja)
fetched="$out/fetch content"
# As somebody without a home that can be written: all caches have to lie in the build folder. (As root nothing else
# refuses a write.)
nowhere=(env -u XDG_CACHE_HOME HOME=/proc/self)
check "FetchContent: configure" "${nowhere[@]}" cmake "${generator[@]}" -S "$here/fetch_content" -B "$fetched" \
    "-DLIBSPARAMX_SOURCE=$source"
check "FetchContent: build" "${nowhere[@]}" cmake --build "$fetched"
check "FetchContent: run" "$fetched/consumer"
check "FetchContent: no examples" test -z "$(find "$fetched" -name 'sparamx-run')"
check "FetchContent: no build type for the host" grep -q '^CMAKE_BUILD_TYPE:STRING=$' "$fetched/CMakeCache.txt"
check "FetchContent: nothing written to the sources" \
    test -z "$(find "$source" -newer "$fetched/CMakeCache.txt" -type f)"

# A Swift that is too old is refused when the build is configured, with the version that is wanted.
printf '#!/bin/sh\necho "Swift version 6.1.2 (swift-6.1.2-RELEASE)"\n' >"$out/old-swift"
chmod +x "$out/old-swift"
old() { cmake -S "$root/cmake" -B "$out/old" "-DSPARAMX_SWIFT=$out/old-swift" >"$out/old.log" 2>&1; }
check "an old Swift is refused" refuses old
check "with the version that is wanted" grep -q "needs *6[.]3" <(tr '\n' ' ' <"$out/old.log")

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
