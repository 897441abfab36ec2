"""Loading, freeing, and how much memory stays."""

import gguf
import pytest

from test_placement import expected_mib

KIB = 1024


def test_buffer_interface(host):
    """Upload in parts, read back, copies, views, resets; products with batches and strides; questions before placement."""
    assert host.must_run("host_checks", "buffers").stdout == "all checks passed\n"


@pytest.mark.parametrize("mode", ["inject", "accel"])
@pytest.mark.parametrize("kind", ["bf16", "q8_0"])
def test_ten_loads_leave_nothing(host, model, kind, mode):
    path = model(kind)
    result = host.must_run("host_checks", "reload", path, 10, SPARAMX_MODE=mode)
    resident = [int(line.split()[0]) for line in result.stdout.splitlines()]
    assert len(resident) == 10
    # One model that stays would be seen eight times.
    growth = resident[9] - resident[1]
    assert growth * KIB < expected_mib(path) * 2**20 / 2, resident


@pytest.mark.parametrize("kind", ["bf16", "f16", "q8_0"])
def test_memory_of_weights(linked, tmp_path_factory, kind):
    """Not more than the packed weights and 5%, however the host measures its buffers."""
    import models
    from conftest import WORK
    path = models.make(WORK / "models" / f"wide-{kind}-50.gguf", kind, 0.5, "--preset", "tiny", "--embd", "1024", "--ff", "4096",
                       "--heads", "16", "--kv-heads", "16")
    plain = linked.must_run("host_checks", "resident", path, "mmap", plugin=False)
    ours = linked.must_run("host_checks", "resident", path, "mmap")
    weights = [tensor for tensor in gguf.GGUFReader(path).tensors
               if not any(part in tensor.name for part in ("token_embd", "_norm"))]
    elements = sum(int(tensor.n_elements) for tensor in weights)
    # A bit per weight and the half that is not zero; Q8_0 has a 2-byte scale per 32 as well. The output is not pruned.
    dense = sum(int(tensor.n_elements) for tensor in weights if tensor.name == "output.weight")
    code = 1 if kind == "q8_0" else 2
    scales = elements / 16 if kind == "q8_0" else 0
    packed = (elements - dense) * (code / 2 + 1 / 8) + dense * code + scales
    taken = (int(ours.stdout) - int(plain.stdout)) * KIB
    print(f"{kind}: {taken / 2**20:.1f} MiB for {packed / 2**20:.1f} MiB of packed weights")
    assert taken < packed * 1.05 + 2**20
