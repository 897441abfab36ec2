#!/usr/bin/env bash
# Tests of examples/pytorch. Arguments go to pytest. Where PyTorch cannot be had, one line says so and all are skipped.
# The last line is "N passed, N failed, N skipped".
set -uo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
. "$here/../pytest.sh"
. "$here/../tally.sh"
run_pytest "$here" pytorch "$@"
status=$?
if [ "$status" -eq 2 ] && ! [ -e "$here/../../build/venv-pytorch/complete" ]; then
    tally_skip 1 "tests of examples/pytorch: PyTorch, or another package of requirements.txt there, cannot be had"
    tally_end
    exit 0
fi
exit "$status"
