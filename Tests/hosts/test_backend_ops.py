"""The host's own test of matrix products, against the plugin as a device."""

import re

import pytest


TYPES = {"bf16", "f16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "iq4_nl", "iq4_xs", "mxfp4"}


@pytest.mark.parametrize("op, least", [("MUL_MAT", 100), ("MUL_MAT_ID", 100)])
def test_matrix_products(host, op, least):
    result = host.must_run("test-backend-ops", "test", "-b", "SPARAMX", "-o", op, SPARAMX_MODE="accel")
    log = re.sub(r"\x1b\[[0-9;]*m", "", result.stdout)
    passed, total = map(int, re.search(r"(\d+)/(\d+) tests passed", log).groups())
    print(f"test-backend-ops -o {op}: {passed} of {total}")
    assert passed == total >= least
    claimed = {re.search(r"type_a=(\w+)", line)[1] for line in log.splitlines()
               if line.strip().startswith(f"{op}(") and line.rstrip().endswith("OK")}
    assert claimed == TYPES
    assert "FAIL" not in log


def test_many_threads(linked):
    """More threads than there are CPUs, in the host's own team."""
    result = linked.must_run("test-backend-ops", "test", "-b", "SPARAMX", "-o", "MUL_MAT", "-p", "k=256,bs=..,1..", SPARAMX_MODE="accel",
                             OMP_NUM_THREADS=8)
    assert "FAIL" not in result.stdout
