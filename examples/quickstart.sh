#!/usr/bin/env bash
# From a fresh clone to a table: installs what is missing, builds, and runs sparamx-run on a model without and with the
# library; by default on the small trained one of this repository, 70% of whose weights are pruned (examples/prune).
# A second run finds everything done and is quick.
#
# Usage: examples/quickstart.sh [--text] [--random | MODEL.gguf]
#   --text    go on: build a stock llama.cpp once (cached; 10 to 30 minutes), and let it write with and without the
#             library
#   --random  a model of random weights, half of them zero, with layers as wide as those of a 1 B model: for the speed
set -euo pipefail

# Exact versions: the same model comes out everywhere. numpy 2.3 needs Python 3.11, which Debian 12 has.
pins=(gguf==0.19.0 numpy==2.3.5 tqdm==4.70.1
      PyYAML==6.0.3 requests==2.34.2 certifi==2026.10.18 charset-normalizer==3.5.2 idna==3.20 urllib3==2.8.0)

say() { printf '\n== %s\n' "$*"; }
die() { printf 'quickstart: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

usage="examples/quickstart.sh [--text] [--random | MODEL.gguf]"
text='' random='' model=''
while [ $# -gt 0 ]; do
    case "$1" in
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --text) text=1 ;;
    --random) random=1 ;;
    -*) die "unknown option $1: $usage" ;;
    *)
        [ -z "$model" ] || die "name at most one model file"
        [ -r "$1" ] || die "$1 cannot be read"
        model=$(realpath -- "$1")
        ;;
    esac
    shift
done
[ -z "$random" ] || [ -z "$model" ] || die "--random makes a model: name none"
[ -z "$random" ] || [ -z "$text" ] || die "a model of random weights has nothing to say: --text without --random"
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
    if [ -n "$random$text" ]; then
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

# -- text --------------------------------------------------------------------------------------------------------------

# What llama-completion of the stock llama.cpp writes, into build/text/NAME.txt, and its speed, the best of three.
# Without chance: with it, the last bit of a sum soon decides for another word, in llama.cpp against itself too (-ub
# 1).
write_text() { # name, variables of the environment...
    local i
    for i in 1 2 3; do
        env -u LD_PRELOAD "${@:2}" "$host/bin/llama-completion" -m "$model" -no-cnv -n 120 --temp 0 \
            --repeat-penalty 1.2 --repeat-last-n 128 -p "$prompt" \
            >"build/text/$1.txt" 2>"build/text/$1.log" </dev/null ||
            die "llama-completion cannot run $model; all of its output is in build/text/$1.log"
        sed -n '/prompt eval/!s/.*eval time.* \([0-9.]*\) tokens per second.*/\1/p' "build/text/$1.log"
    done | sort -n | tail -n 1 >"build/text/$1.speed"
}

show_text() {
    local host source prompt same
    prompt=${QUICKSTART_PROMPT:-def read(self, size=-1):}
    prepare_python
    say "Building a stock llama.cpp, once: 10 to 30 minutes the first time; output in build/text.log"
    mkdir -p build/text
    host=$(build/venv/bin/python Tests/hosts/build_host.py --kind linked --also llama-completion 2>build/text.log) ||
        die "llama.cpp could not be built; all of the output is in build/text.log"
    source=$(build/venv/bin/python Tests/hosts/build_host.py --source-only 2>>build/text.log)
    { cmake -S cmake -B build "-DLLAMA_CPP_SOURCE=$source" && cmake --build build --parallel "$(nproc)"; } \
        >>build/text.log 2>&1 ||
        die "the plugin could not be built; all of the output is in build/text.log"
    write_text without
    write_text with "LD_PRELOAD=$PWD/build/libggml-sparamx.so" "SPARAMX_LIB=$PWD/build/libsparamx.so"
    same="The texts differ from some place on: sums are rounded in another order, and two words were about equally"
    same+=" likely there."
    ! cmp -s build/text/without.txt build/text/with.txt || same="Both wrote the same, letter for letter."
    say "llama-completion on $model"
    {
        printf '%-74s %s\n\n' "llama.cpp: $(cat build/text/without.speed) tokens/s" \
            "llama.cpp with libsparamx: $(cat build/text/with.speed) tokens/s"
        pr -m -t -w 148 <(fold -w 72 build/text/without.txt) <(fold -w 72 build/text/with.txt)
    } | expand
    printf '\n%s\n' "$same"
    grep -o 'sparamx: .*' build/text/with.log || true
    [ "$(stat -c %s "$model")" -gt 100000000 ] ||
        echo "(A model this small stays in the caches; what a large one gains is in BENCHMARKS.md.)"
}

# -- all of it ---------------------------------------------------------------------------------------------------------

install_packages
find_swift

say "Building the library and the examples"
mkdir -p build
if ! { cmake -S cmake -B build -DCMAKE_BUILD_TYPE=Release && cmake --build build --parallel "$(nproc)"; } \
    >build/quickstart.log 2>&1; then
    tail -n 40 build/quickstart.log >&2
    die "the build failed; all of its output is in build/quickstart.log"
fi

if [ -n "$random" ]; then
    make_model
elif [ -z "$model" ]; then
    model=examples/prune/models/trained-70.gguf
fi

say "Without the library, plain C on the first layer: sparamx-run --filter blk.0. $model"
status=0
build/examples/sparamx-run --filter blk.0. "$model" || status=$?
# 2: a model without such a layer, or of types that plain C does not know. The library may still have something to say.
[ "$status" -eq 0 ] || [ "$status" -eq 2 ] || exit "$status"

say "With the library: sparamx-run --amx $model"
build/examples/sparamx-run --amx "$model"
[ -z "$text" ] || show_text
