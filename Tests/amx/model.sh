#!/usr/bin/env bash
# amx/model.sh [--kernels REGEX] [--tokens LIST] [--json FILE] [--table PAGE] [LIBRARY [LIBRARY]] - what kernels cost on
# a core with AMX, by a model, on a machine without one. model/README.md says what it is worth.
set -euo pipefail
exec python3 "$(dirname "$(realpath "$0")")/model/model.py" "$@"
