#!/usr/bin/env bash
# header_test.sh - compiles sparamx.h alone, and twice in one file, and sparamx-kv.h, a part of it, with every compiler
# at hand as C99, C11, C17, C++17 and C++20, all warnings on and none allowed. Compilers: gcc, g++, clang, clang++ from
# PATH or beside swift.
set -uo pipefail
cd "$(dirname "$0")/../.."
PATH=$PATH:${SWIFT_BIN:-/nonexistent}
passed=0 failed=0 skipped=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '#include <sparamx.h>\n' >"$work/alone.c"
printf '#include <sparamx-kv.h>\nextern sparamx_kv_info info;\n' >"$work/part.c"
cat "$work/alone.c" "$work/alone.c" - >"$work/twice.c" <<<'int main(void) { return !sparamx_get_api(SPARAMX_ABI); }'

check() { # compiler language standard extra-warnings...
    local file log="$work/log" compiler=$1 language=$2 standard=$3
    shift 3
    for file in alone twice part; do
        if "$compiler" -x "$language" "-std=$standard" -Iinclude -Wall -Wextra -Wpedantic -pedantic-errors \
            -Wconversion -Wshadow -Wundef -Werror "$@" -fsyntax-only "$work/$file.c" >"$log" 2>&1; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            echo "not ok: sparamx.h ($file) with $compiler -std=$standard:"
            head -5 "$log"
        fi
    done
}

# -Weverything has warnings that contradict each other or ask for padding; these are those.
everything=(-Weverything -Wno-padded -Wno-unknown-warning-option -Wno-unsafe-buffer-usage -Wno-pre-c11-compat)
for compiler in gcc clang; do
    if ! command -v "$compiler" >/dev/null; then
        skipped=$((skipped + 9))
        echo "SKIPPED 9: sparamx.h with $compiler: not installed"
        continue
    fi
    more=(-Wstrict-prototypes -Wmissing-prototypes -Wc++-compat)
    [ "$compiler" = clang ] && more=("${everything[@]}" -Wno-missing-prototypes)
    for standard in c99 c11 c17; do check "$compiler" c "$standard" "${more[@]}"; done
done
for compiler in g++ clang++; do
    if ! command -v "$compiler" >/dev/null; then
        skipped=$((skipped + 6))
        echo "SKIPPED 6: sparamx.h with $compiler: not installed"
        continue
    fi
    more=(-Wzero-as-null-pointer-constant -Wold-style-cast)
    [ "$compiler" = clang++ ] && more=("${everything[@]}" -Wno-missing-prototypes -Wno-c++98-compat
        -Wno-c++98-compat-pedantic -Wno-pre-c++17-compat)
    for standard in c++17 c++20; do check "$compiler" c++ "$standard" "${more[@]}"; done
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
