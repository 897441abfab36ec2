#!/usr/bin/env bash
# amx.sh [--out DIR] [--short] [--prototypes DIR] [STEP...] - everything that only a machine with AMX can tell: all
# tests on its own instructions, the speed of every kernel at every number of tokens, stock llama.cpp with and without
# the plugin; one JSON file of it, and the tables of BENCHMARKS.md. Tests/amx/README.md says more.
#
# Steps take at most nine minutes each, but for builds. Those that are done are not run again: start it again until
# nothing is left.
# The last line is "N passed, N failed, N skipped", in steps.
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/.."
exec python3 Tests/amx/measure.py "$@"
