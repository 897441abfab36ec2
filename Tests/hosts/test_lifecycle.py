"""Loading, freeing, and that no memory stays."""

import pytest

from test_placement import expected_mib

KIB, LOADS = 1024, 40


def test_buffer_interface(host):
    """Upload in parts, reading back, copies, views, resets; products with batches and strides; questions before."""
    assert host.must_run("host_checks", "buffers").stdout == "all checks passed\n"


@pytest.mark.parametrize("mode", ["inject", "accel"])
@pytest.mark.parametrize("kind", ["bf16", "q8_0"])
def test_forty_loads_leave_nothing(host, model, kind, mode):
    path = model(kind)
    result = host.must_run("host_checks", "reload", path, LOADS, SPARAMX_MODE=mode)
    resident = [int(line.split()[0]) for line in result.stdout.splitlines()]
    assert len(resident) == LOADS
    # One model that stays would be seen 38 times.
    growth = resident[-1] - resident[1]
    assert growth * KIB < expected_mib(path) * 2**20 / 2, resident
