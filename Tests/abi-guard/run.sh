#!/usr/bin/env bash
# abi-guard/run.sh LIBDIR OUTDIR - that a program of the first release runs with the library in LIBDIR, and that the
# header and the exported symbols still are what such a program relies on. Logs are in OUTDIR. Last line: "N passed, N
# failed, N skipped".
set -uo pipefail
here=$(dirname "$(realpath "$0")")
. "$here/../tally.sh"
mkdir -p "$2"
lib=$(realpath "$1") out=$(realpath "$2")
cc=${CC:-cc}
header=$here/../../include/sparamx.h
first=$here/sparamx-0.1.0.h
record=$here/abi-1.txt
strict=(-std=c11 -O2 -g -Wall -Wextra -Wpedantic -Wshadow -Werror)
unset SPARAMX_ISA LD_PRELOAD
export LC_ALL=C # comm and sort agree

expect() { # NAME WANTED STATUS COMMAND...: a check that is a command
    local name=$1 want=$2 got=0
    shift 2
    "$@" >"$out/expect.log" 2>&1 || got=$?
    if { [ "$want" = 0 ] && [ "$got" = 0 ]; } || { [ "$want" = 1 ] && [ "$got" != 0 ]; }; then
        tally_passed=$((tally_passed + 1))
    else
        echo "not ok: $name (status $got)"
        head -n 20 "$out/expect.log" | sed 's/^/    /'
        tally_failed=$((tally_failed + 1))
    fi
}

# -- a program of the first release ------------------------------------------------------------------------------------

expect "old_host builds against the first header" 0 \
    "$cc" "${strict[@]}" "$here/old_host.c" "-L$lib" -lsparamx -lm -ldl -o "$out/old_host"
for level in reference avx512 amx; do
    for way in link table; do
        tally "program of 0.1.0, $way, $level" "$out/old_host-$way-$level.log" \
            env "LD_LIBRARY_PATH=$lib" "SPARAMX_ISA=$level" "$out/old_host" "$way"
    done
done

# The same with a library in which every struct has grown, and which says so if it reads what such a program has not.
swift=${SPARAMX_SWIFT:-$(command -v swift || echo /opt/swift/usr/bin/swift)}
if ! command -v "$swift" >/dev/null; then
    tally_skip 7 "a library with larger structs: there is no swift to build it with (set SPARAMX_SWIFT)"
else
    expect "a library builds in which every struct has grown" 0 \
        env "SPARAMX_SWIFT=$swift" python3 "$here/grown.py" "$here/../.." "$out/grown"
    for level in reference avx512 amx; do
        for way in link table; do
            tally "program of 0.1.0, larger structs, $way, $level" "$out/old_host-grown-$way-$level.log" \
                env "LD_LIBRARY_PATH=$out/grown" "SPARAMX_ISA=$level" "$out/old_host" "$way"
        done
    done
fi

# -- the header and the symbols ----------------------------------------------------------------------------------------

# The record is that of the first header, and every fact of it still holds today.
expect "abi-1.txt is the record of the first header" 0 \
    bash -c 'diff <(python3 "$1" "$2") "$3"' - "$here/layout.py" "$first" "$record"
expect "the header keeps every fact of abi-1.txt" 0 python3 "$here/layout.py" --compare "$record" "$header"
python3 "$here/layout.py" --compare "$record" "$header" | grep '^new: ' | sed 's/^/    /'
exported() {
    nm -D --defined-only "$lib/libsparamx.so" |
        awk '$2 ~ /^[A-Z]$/ && $2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort
}
functions() { sed -n "s/^function \(sparamx_[a-z0-9_]*\)(.*/\1/p" | sort; } # of a record
# none_alone HOW ONE OTHER: comm finds no line that one of two lists, which are sorted, has and the other has not
none_alone() { comm "$1" <(printf "%s\n" "$2") <(printf "%s\n" "$3") | (! grep .); }
expect "every function of the first release is exported" 0 none_alone -13 "$(exported)" "$(functions <"$record")"
# Nothing is exported that today's header does not declare.
expect "nothing else is exported" 0 none_alone -23 "$(exported)" "$(python3 "$here/layout.py" "$header" | functions)"

# And of libc only what is known to be asked for: a file, a socket or an abort would be new.
imports() { nm -D --undefined-only "$lib/libsparamx.so" | sed "s/.* //; s/@.*//" | sort; }
expect "nothing new is asked of libc, see imports.txt" 0 none_alone -23 "$(imports)" "$(<"$here/imports.txt")"

# -- that each of these can fail ---------------------------------------------------------------------------------------

python3 - "$header" "$out" "$here" <<'PYTHON'
import sys
sys.path.insert(0, sys.argv[3])
import layout
text, out = layout.read(sys.argv[1]), sys.argv[2]
def write(name, old, new):
    assert old in text, old
    open(f"{out}/{name}.h", "w").write(text.replace(old, new, 1))
write("wider", "int32_t ith; ", "int64_t ith; ")
write("renumbered", "SPARAMX_ERR_SHAPE = 16", "SPARAMX_ERR_SHAPE = 29")
write("reordered", "    size_t (*buffer_type_alignment)(void);\n    size_t (*buffer_type_max_size)(void);",
      "    size_t (*buffer_type_max_size)(void);\n    size_t (*buffer_type_alignment)(void);")
write("signature", "sparamx_status sparamx_buffer_reset(sparamx_buffer *buffer);",
      "sparamx_status sparamx_buffer_reset(sparamx_buffer *buffer, int how);")
write("retyped", "uint64_t packed_bytes; ", "double packed_bytes; ")
write("grown", "    char cpu[64]; ", "    char cpu[64]; int64_t fresh; ")
PYTHON
for bad in wider renumbered reordered signature retyped; do
    expect "a header that is $bad is refused" 1 python3 "$here/layout.py" --compare "$record" "$out/$bad.h"
done
expect "a struct may grow at its end" 0 python3 "$here/layout.py" --compare "$record" "$out/grown.h"

# -- the same by abidiff, from debugging information -------------------------------------------------------------------

if ! command -v abidiff >/dev/null; then
    tally_skip 5 "abidiff: not installed (Debian: abigail-tools)"
else
    stub() { # NAME HEADER: a library whose one function leads to every type of the interface
        printf '#include "%s"\n%s { (void)abi; return 0; }\n' "$2" \
            'const sparamx_api *sparamx_get_api(uint32_t abi)' >"$out/$1.c" &&
            "$cc" -std=c11 -g -fPIC -shared "$out/$1.c" -o "$out/$1.so"
    }
    stub first "$first" && stub today "$header" && stub wider "$out/wider.h" && stub grown "$out/grown.h" &&
        stub reordered "$out/reordered.h" || tally_failed=$((tally_failed + 1))
    stub retyped "$out/retyped.h" || tally_failed=$((tally_failed + 1))
    # abidiff has one exit status for growth at the end, which is allowed, and for fields that move or change, which are
    # not (its suppressions, in 2.2, hide both). So its report is read: members that move, change or go have these
    # words.
    broken='offset changed|deletion|name changed|was (added|removed)|entity changed|[1-9][0-9]* Removed'
    same() {
        local status=0
        abidiff "$out/first.so" "$out/$1.so" >"$out/abidiff-$1.log" || status=$?
        cat "$out/abidiff-$1.log"
        [ $((status & ~4)) -eq 0 ] && ! grep -qE "$broken" "$out/abidiff-$1.log"
    }
    expect "abidiff: the first header against today's" 0 same today
    expect "abidiff refuses a wider field" 1 same wider
    expect "abidiff refuses another type of the same size" 1 same retyped
    expect "abidiff refuses functions in another order" 1 same reordered
    expect "abidiff lets a struct grow" 0 same grown
fi
tally_end
