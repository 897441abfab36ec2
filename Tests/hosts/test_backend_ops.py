"""The host's own test of matrix products, against the plugin as a device."""

import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "cmake"))
import definitions  # noqa: E402

TYPES = {kind.symbol for kind in definitions.types()}
# Three cases have 128 experts of 4096x2048 in Q4_K. Almost all of their time goes to the test program, which quantizes
# 1.1 billion weights for each in one thread: minutes per case on a quiet machine, where the 518 others take half a
# minute.
LARGE, N_LARGE, LARGE_TIMEOUT = "m=4096", 3, 7200
PRODUCTS = [("MUL_MAT", "", 400), ("MUL_MAT_ID", f"^(?!.*{LARGE})", 500)]


def run(host, op, parameters, **options):
    """(cases passed, cases claimed, types claimed)"""
    result = host.must_run("test-backend-ops", "test", "-b", "SPARAMX", "-o", op, "-p", parameters,
                           SPARAMX_MODE="accel", **options)
    log = re.sub(r"\x1b\[[0-9;]*m", "", result.stdout)
    passed, total = map(int, re.search(r"(\d+)/(\d+) tests passed", log).groups())
    print(f"{host.kind}: test-backend-ops -o {op} -p '{parameters}': {passed} of {total}")
    assert "FAIL" not in log
    claimed = [re.search(r"type_a=(\w+)", line)[1] for line in log.splitlines()
               if line.strip().startswith(f"{op}(") and line.rstrip().endswith("OK")]
    assert len(claimed) == total
    return passed, total, set(claimed)


@pytest.mark.parametrize("op, parameters, least", PRODUCTS, ids=["MUL_MAT", "MUL_MAT_ID"])
def test_matrix_products(host, op, parameters, least):
    passed, total, claimed = run(host, op, parameters)
    assert passed == total >= least
    assert {name.lower() for name in claimed} == TYPES


def test_large_mixtures(host):
    assert run(host, "MUL_MAT_ID", LARGE, timeout=LARGE_TIMEOUT) == (N_LARGE, N_LARGE, {"q4_K"})


def test_many_threads(linked):
    """More threads than there are CPUs, in the host's own team."""
    run(linked, "MUL_MAT", "k=256,bs=..,1..", OMP_NUM_THREADS=8)
