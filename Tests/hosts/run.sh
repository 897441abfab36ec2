#!/usr/bin/env bash
# Builds stock llama.cpp in both kinds (once; cached outside the clone), the plugin, and runs the host tests.
# Arguments go to pytest (files by their names here). The last line is "N passed, N failed, N skipped".
set -uo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$(cd -- "$here/../.." && pwd)
venv=$root/build/venv-hosts

if ! [ -e "$venv/complete" ] || ! cmp -s "$here/requirements.txt" "$venv/complete"; then
    python3 -m venv "$venv" && "$venv/bin/pip" -q install -r "$here/requirements.txt" || exit 2
    cp "$here/requirements.txt" "$venv/complete"
fi
if ! [ -e "${SPARAMX_TEST_LIBRARY:-$root/build/libsparamx.so}" ] && ! [ -e "$root/build/swift/release/libsparamx.so" ]; then
    (cd "$root" && swift build -c release --disable-local-rpath --scratch-path build/swift --product sparamx) || exit 2
fi

report=$root/build/hosts/report.xml
mkdir -p "$root/build/hosts"
rm -f "$report"
cd "$here" || exit 2
"$venv/bin/python" -m pytest -p no:cacheprovider -rs --junit-xml "$report" "$@"
status=$?
"$venv/bin/python" - "$report" <<'PYTHON' || exit 2
import sys
import xml.etree.ElementTree as tree

suite = tree.parse(sys.argv[1]).getroot().find("testsuite")
total, failed, skipped = (int(suite.get(name)) for name in ("tests", "failures", "skipped"))
failed += int(suite.get("errors"))
print(f"{total - failed - skipped} passed, {failed} failed, {skipped} skipped")
PYTHON
exit $status
