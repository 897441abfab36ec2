#!/usr/bin/env bash
# From a fresh clone to a table: installs what is missing, builds, makes a pruned model if none is named, and runs
# sparamx-run on it without and with the library. A second run finds everything done and is quick.
#
# Usage: examples/quickstart.sh [MODEL.gguf]
set -euo pipefail

# Exact versions: the same model comes out everywhere. numpy 2.3 needs Python 3.11, which Debian 12 has.
pins=(gguf==0.19.0 numpy==2.3.5 tqdm==4.70.1
      PyYAML==6.0.3 requests==2.34.2 certifi==2026.10.18 charset-normalizer==3.5.2 idna==3.20 urllib3==2.8.0)

say() { printf '\n== %s\n' "$*"; }
die() { printf 'quickstart: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

case "${1-}" in
-h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
-*) die "unknown option $1: examples/quickstart.sh [MODEL.gguf]" ;;
esac
[ $# -le 1 ] || die "name at most one model file"
model=${1-}
if [ -n "$model" ]; then
    [ -r "$model" ] || die "$model cannot be read"
    model=$(realpath -- "$model")
fi
cd "$(dirname -- "$(realpath -- "$0")")/.."

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || die "libsparamx runs on x86-64 Linux only, this is $(uname -sm)"

# -- what the build needs ----------------------------------------------------------------------------------------------

missing_packages() {
    have cmake || echo cmake
    have gcc || have cc || echo gcc
    [ -e /usr/include/stdio.h ] || echo libc6-dev
    have g++ || have c++ || echo g++
    have make || echo make
    have pkg-config || echo pkg-config
    [ -e /usr/include/numa.h ] || echo libnuma-dev
    if [ -z "$model" ]; then
        python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    fi
}

install_packages() {
    local as_root=() packages
    mapfile -t packages < <(missing_packages)
    [ ${#packages[@]} -gt 0 ] || return 0
    say "Installing ${packages[*]}"
    have apt-get || die "these are missing, and there is no apt-get to install them with: ${packages[*]}"
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || die "these are missing; install them as root: apt-get install ${packages[*]}"
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
}

find_swift() {
    local bin
    have swift && return 0
    for bin in "${SWIFT_HOME:-/nonexistent}/usr/bin" "${SWIFT_HOME:-/nonexistent}/bin" /opt/swift/usr/bin \
        /usr/local/swift/usr/bin "${HOME:-/nonexistent}/.local/share/swiftly/bin"; do
        [ -x "$bin/swift" ] || continue
        export PATH="$bin:$PATH"
        return 0
    done
    die "swift is not found: install a Swift 6.3 toolchain, then put it on PATH or set SWIFT_HOME"
}

# -- the model ---------------------------------------------------------------------------------------------------------

prepare_python() {
    local stamp=build/venv/pins
    [ "$(cat "$stamp" 2>/dev/null)" != "${pins[*]}" ] || return 0
    say "Installing ${pins[*]:0:3} into build/venv"
    python3 -m venv --clear build/venv
    build/venv/bin/pip install --quiet --disable-pip-version-check "${pins[@]}"
    echo "${pins[*]}" >"$stamp"
}

make_model() {
    model=build/models/small-bf16-50.gguf
    [ ! -e "$model" ] || return 0
    prepare_python
    say "Making $model: 4 llama layers of random weights, half of them zero"
    mkdir -p build/models
    build/venv/bin/python examples/make_model.py "$model"
}

# -- all of it ---------------------------------------------------------------------------------------------------------

install_packages
find_swift

say "Building the library and the examples"
mkdir -p build
if ! { cmake -S cmake -B build -DCMAKE_BUILD_TYPE=Release && cmake --build build --parallel; } >build/quickstart.log 2>&1; then
    tail -n 40 build/quickstart.log >&2
    die "the build failed; all of its output is in build/quickstart.log"
fi

[ -n "$model" ] || make_model

say "Without the library, plain C on the first layer: sparamx-run --filter blk.0. $model"
status=0
build/examples/sparamx-run --filter blk.0. "$model" || status=$?
# 2: a model without such a layer, or of types that plain C does not know. The library may still have something to say.
[ "$status" -eq 0 ] || [ "$status" -eq 2 ] || exit "$status"

say "With the library: sparamx-run --amx $model"
build/examples/sparamx-run --amx "$model"
