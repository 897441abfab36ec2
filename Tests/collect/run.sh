#!/usr/bin/env bash
# Tests of SPARAMX_COLLECT without an engine. Arguments go to pytest. The last line is "N passed, N failed, N skipped".
set -uo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
. "$here/../pytest.sh"
run_pytest "$here" collect "$@"
