# To be sourced. run_pytest FOLDER NAME [ARGUMENT...] runs pytest on FOLDER in a virtual environment of its own,
# build/venv-NAME, with what FOLDER/requirements.txt asks for. The last line is "N passed, N failed, N skipped".
# make_venv FOLDER NAME makes that environment alone; whoever wants one that is being made waits for it.
make_venv() {
    local here=$1 root venv
    root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
    venv=$root/build/venv-$2
    mkdir -p "$root/build"
    (
        flock 9
        [ -e "$venv/complete" ] && cmp -s "$here/requirements.txt" "$venv/complete" && exit 0
        python3 -m venv --clear "$venv" && "$venv/bin/pip" -q install --disable-pip-version-check \
            -r "$here/requirements.txt" && cp "$here/requirements.txt" "$venv/complete"
    ) 9>"$venv.lock"
}

run_pytest() {
    local here=$1 name=$2 root venv report status
    shift 2
    root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
    venv=$root/build/venv-$name
    make_venv "$here" "$name" || return 2
    report=$root/build/$name/report.xml
    mkdir -p "$root/build/$name"
    rm -f "$report"
    (cd "$here" && "$venv/bin/python" -m pytest -p no:cacheprovider -rs --junit-xml "$report" "$@")
    status=$?
    "$venv/bin/python" - "$report" <<'PYTHON' || return 2
import sys
import xml.etree.ElementTree as tree

suite = tree.parse(sys.argv[1]).getroot().find("testsuite")
total, failed, skipped = (int(suite.get(name)) for name in ("tests", "failures", "skipped"))
failed += int(suite.get("errors"))
print(f"{total - failed - skipped} passed, {failed} failed, {skipped} skipped")
PYTHON
    return $status
}
