#!/usr/bin/env bash
# Tests of examples/prune. Arguments go to pytest. The last line is "N passed, N failed, N skipped".
set -uo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$(cd -- "$here/../.." && pwd)
venv=$root/build/venv-prune

if ! [ -e "$venv/complete" ] || ! cmp -s "$here/requirements.txt" "$venv/complete"; then
    python3 -m venv --clear "$venv" && "$venv/bin/pip" -q install --disable-pip-version-check -r "$here/requirements.txt" || exit 2
    cp "$here/requirements.txt" "$venv/complete"
fi

report=$root/build/prune/report.xml
mkdir -p "$root/build/prune"
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
