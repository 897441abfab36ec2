"""AMX in the host: the library's AMX kernels, and tiles shared with the host's own AMX backend.

On a CPU with AMX this runs on the hardware. On others it runs on Tests/emulator, which checks how tiles are used more
strictly than hardware does, and the tests on hardware are skipped, each with the reason.
"""

import os
import re
import subprocess

import pytest

import build_host
import test_backend_ops
from conftest import ROOT, WORK, Host, find_library, our_lines
from test_numerics import CHUNKS, CONTEXT, SAME_TOP, base, divergence, most  # noqa: F401 (base is a fixture)
from test_placement import expected_mib, reported_mib

HAS_AMX = {"amx_tile", "amx_int8", "amx_bf16"} <= build_host.cpu_flags()
NO_AMX = "this CPU has no AMX (amx_tile, amx_int8, amx_bf16): run on 4th generation Xeon Scalable or later"
EMULATOR = ROOT / "Tests/emulator"


def build_emulator():
    """(the library to preload, the copy of libsparamx whose CPU detection it answers)"""
    made = WORK / "emulator"
    result = subprocess.run([EMULATOR / "build.sh", made, find_library()], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return made / "libtile-emulator.so", made / "emulated/libsparamx.emulated.so"


@pytest.fixture(scope="module", params=["hardware", "emulated"])
def tiles(request, tmp_path_factory):
    """Variables under which AMX works."""
    if request.param == "hardware":
        if not HAS_AMX:
            pytest.skip(NO_AMX)
        return {}
    if HAS_AMX:
        pytest.skip("this CPU has AMX: the emulator steps aside")
    preload, library = build_emulator()
    counts = tmp_path_factory.mktemp("counts") / "counts"
    return {"LD_PRELOAD": preload, "SPARAMX_LIB": library, "SPARAMX_EMU_REPORT": counts}


@pytest.fixture(scope="module")
def clang_host():
    """Built with clang, its own AMX on: GCC 12 would lose the tile configuration. Without OpenMP: clang has none."""
    return Host("linked-clang")


def products_counted(tiles):
    """Tile products since the last look; on hardware nobody counts."""
    report = tiles.get("SPARAMX_EMU_REPORT")
    if not report:
        return None
    counts = re.findall(r"^tdp\w+ (\d+)$", report.read_text(), flags=re.M)
    os.remove(report)
    return sum(map(int, counts))


@pytest.mark.parametrize("sparsity", [0.0, 0.5])
@pytest.mark.parametrize("kind", ["bf16", "f16", "q8_0", "q4_0", "q4_k_m", "q6_k", "mxfp4"])
def test_divergence_with_amx(linked, model, text, base, tiles, kind, sparsity):  # noqa: F811
    path = model(kind, sparsity)
    logits = base(linked, path)
    runs = []

    def run():
        runs.append(linked.must_run("llama-perplexity", "-m", path, "-f", text, "-c", CONTEXT, "-t", 2,
                                    "--kl-divergence", "--kl-divergence-base", logits, "-v", **tiles))
        return runs[-1]
    mean, same_top = divergence(run, expected_mib(path))
    print(f"{kind} {sparsity} with AMX: mean KLD {mean}, same top {same_top}%")
    assert our_lines(runs[-1].stderr)[0].endswith("with AMX")
    assert products_counted(tiles) != 0
    assert abs(mean) < most(kind, amx=True)
    assert same_top >= SAME_TOP


@pytest.mark.parametrize("threads", [1, 2])
def test_tiles_shared_with_the_hosts_amx(clang_host, model, tiles, threads):
    """Half of the matrices ours, half in the host's AMX backend, which configures its tiles once per thread and never
    again: it must find them as it left them."""
    path = model("q8_0")
    options = ("host_checks", "generate", path, 30, threads, threads, "auto")
    # The reference runs with the host's AMX too; the emulator is as necessary for it.
    without = {name: value for name, value in tiles.items() if name != "SPARAMX_LIB"}
    plain = clang_host.must_run(*options, plugin=False, **without)
    assert re.search(r" AMX model buffer size", plain.stderr)
    assert products_counted(tiles) != 0
    mixed = clang_host.must_run(*options, SPARAMX_TAKE="ffn_down|attn_q|attn_v", **tiles)
    assert reported_mib(mixed.stderr) > 0 and re.search(r" AMX model buffer size", mixed.stderr)
    assert our_lines(mixed.stderr)[0].endswith("with AMX")
    assert products_counted(tiles) != 0
    a, b = plain.stdout.split(), mixed.stdout.split()
    assert len(a) == len(b) == 30
    assert a == b


@pytest.mark.parametrize("op, parameters, least", test_backend_ops.PRODUCTS, ids=["MUL_MAT", "MUL_MAT_ID"])
def test_device_with_amx(linked, tiles, op, parameters, least):
    """test-backend-ops, with the library's AMX kernels."""
    passed, total, claimed = test_backend_ops.run(linked, op, parameters, **tiles)
    assert passed == total >= least
    assert claimed == test_backend_ops.TYPES
    assert products_counted(tiles) != 0
