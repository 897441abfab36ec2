#!/usr/bin/env bash
# package/distribution.sh BUILDDIR OUTDIR - the Debian packages and the archive that `--target package` makes: what is
# in them, what lintian says, and a C program that uses them, the archive unpacked anywhere, the packages installed in a
# fresh Debian. Last line: "N passed, N failed, N skipped".
set -uo pipefail
here=$(dirname "$(realpath "$0")")
root=$(realpath "$here/../..")
build=$(realpath "$1") out=$2
rm -rf --one-file-system "$out"
mkdir -p "$out"
out=$(realpath "$out")
passed=0 failed=0 skipped=0

. "$here/check.sh"
skip() { # how many, what and why
    skipped=$((skipped + $1))
    echo "SKIPPED $1: $2"
}

version=$(sed -n 's/^#define SPARAMX_VERSION_STRING "\(.*\)"/\1/p' "$root/include/sparamx.h")
archive="$out/sparamx-$version-linux-x86_64.tar.gz"
library="$out/libsparamx0_$version-1_amd64.deb"
development="$out/libsparamx-dev_$version-1_amd64.deb"
tools="$out/sparamx-tools_$version-1_amd64.deb"

# -- the archive -------------------------------------------------------------------------------------------------------

archives() { cd "$build" && cpack -B "$out" -G TGZ; }
check "cpack makes the archive" archives
mkdir "$out/any where"
check "it unpacks" tar -xzf "$archive" -C "$out/any where"
tree=$(echo "$out/any where"/sparamx-*)
check "it has the licence and the list of changes" test -s "$tree/share/doc/sparamx/LICENSE" \
    -a -s "$tree/share/doc/sparamx/CHANGELOG.md"
use_archive() {
    local flags
    flags=$(PKG_CONFIG_PATH="$tree/lib/pkgconfig" pkg-config --cflags --libs sparamx) &&
        eval "${CC:-cc} -std=c11 '$here/consumer.c' $flags -lm -o '$out/consumer'" &&
        LD_LIBRARY_PATH="$tree/lib" "$out/consumer"
}
check "a C program uses it" use_archive
check "its programs find its library" "$tree/bin/sparamx-bench" --help
finds() { ldd "$tree/bin/sparamx-bench" | grep -F "$tree/bin/../lib/libsparamx.so.0"; }
check "and no other" finds
if nm -D "$tree/lib/libggml-sparamx.so" >/dev/null 2>&1; then
    exports() { nm -D --defined-only "$tree/lib/libggml-sparamx.so" | grep -q ggml_backend_init; }
    check "the plugin of the archive exports what a host asks for" exports
fi

# -- Debian's packages -------------------------------------------------------------------------------------------------

if ! command -v dpkg-deb >/dev/null || ! command -v dpkg-shlibdeps >/dev/null; then
    skip 8 "Debian packages: dpkg-deb and dpkg-shlibdeps (dpkg-dev) are missing"
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
    exit
fi
packages() {
    cd "$build" && cpack -B "$out" -G DEB && test "$(find "$out" -maxdepth 1 -name '*.deb' | wc -l)" -eq 3
}
check "cpack makes three packages" packages
field() { test "$(dpkg-deb -f "$1" "$2")" = "$3"; }
check "the library needs glibc 2.34 and nothing else" field "$library" Depends "libc6 (>= 2.34)"
check "the header needs the library of its version" field "$development" Depends "libsparamx0 (= $version-1)"
contents() { dpkg-deb -c "$1" | awk '{ print $6 }' | grep -v '/$' | grep -vE '^\./usr/share/doc/' | sort; }
check "the library's package has the library and its link" test "$(contents "$library" | xargs)" = \
    "./usr/lib/libsparamx.so.0 ./usr/lib/libsparamx.so.0.$(cut -d. -f2- <<<"$version")"

if command -v lintian >/dev/null; then
    # initial-upload-closes-no-bugs: for uploads to Debian itself. no-manual-page: the programs have --help.
    # maintscript-calls-ldconfig: cpack writes that, and Debian does the same by a trigger.
    # pkg-config-unavailable-for-cross-compilation: one archive layout for all systems has lib/pkgconfig.
    named=initial-upload-closes-no-bugs,no-manual-page,maintscript-calls-ldconfig
    named+=,pkg-config-unavailable-for-cross-compilation
    clean() { test -z "$(lintian --allow-root --suppress-tags "$named" "$library" "$development" "$tools")"; }
    check "lintian finds nothing but what is named" clean
else
    skip 1 "lintian: it is not installed"
fi

# A Debian of the release that this machine has, from where this machine has its packages.
fresh="$out/debian"
codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(ORIGIN)' 2>/dev/null |
    awk -v codename="$codename" '$2 == codename && $3 == "Debian" { print $1; exit }')
if [ "$(id -u)" -ne 0 ] || ! command -v debootstrap >/dev/null || [ -z "$mirror" ]; then
    skip 3 "a fresh Debian: it takes root, debootstrap and a source of Debian's packages"
elif ! timeout 300 debootstrap --variant=minbase --include=gcc,libc6-dev,pkg-config "$codename" "$fresh" "$mirror" \
    >"$out/debootstrap.log" 2>&1; then
    skip 3 "a fresh Debian: debootstrap failed, or took over 5 minutes: $(tail -n 1 "$out/debootstrap.log")"
    rm -rf --one-file-system "$fresh"
else
    cp "$library" "$development" "$tools" "$here/consumer.c" "$fresh/root/"
    inside() { chroot "$fresh" /bin/sh -c "cd /root && $1"; }
    check "they install in a fresh Debian" inside "dpkg -i ./*.deb"
    check "a C program uses them there" inside \
        'gcc -std=c11 consumer.c $(pkg-config --cflags --libs sparamx) -lm -o consumer && ./consumer'
    check "the programs run there" inside \
        "sparamx-bench --help && sparamx-explain --help && sparamx-pack --help && sparamx-run --help"
    rm -rf --one-file-system "$fresh"
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
