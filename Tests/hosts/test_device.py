"""The device (SPARAMX_MODE=accel): what it cannot compute fails, with a line, before anything is computed."""

import shutil
import socket
import subprocess
import time

import pytest

import build_host
from conftest import clean_environment, our_lines
from test_placement import expected_mib, reported_mib

PASSED = "all checks passed\n"


def test_every_op_is_computed_or_fails(host):
    result = host.check("device_checks", "ops", SPARAMX_MODE="accel")
    assert result.stdout == PASSED, result.stderr
    lines = [line for line in our_lines(result.stderr) if "cannot compute" in line]
    assert len(lines) > 80 and any("cannot compute ADD (" in line for line in lines)
    assert any("cannot compute MUL_MAT_ID (" in line for line in lines)  # one without its operands


@pytest.mark.parametrize("mode", ["inject", "accel"])
def test_tensors_that_the_library_does_not_know(host, mode):
    result = host.check("device_checks", "empty", SPARAMX_MODE=mode)
    assert result.stdout == PASSED, result.stderr


def test_reserved_memory_stays_address_space(linked):
    result = linked.check("device_checks", "locked", SPARAMX_MODE="accel")
    if result.returncode == 77:
        pytest.skip("this process may not lock that much memory")
    assert result.stdout == PASSED, result.stderr


def test_loaded_again(linked):
    result = linked.check("device_checks", "reload", SPARAMX_MODE="accel")
    assert result.stdout == PASSED, result.stderr
    assert "loaded again, as a device" in our_lines(result.stderr)[-1]


@pytest.mark.parametrize("mode", ["inject", "accel"])
def test_second_copy(host, tmp_path, mode):
    copy = shutil.copy(host.plugin, tmp_path / "copy.so")
    result = host.check("device_checks", "copy", copy, SPARAMX_MODE=mode)
    assert result.stdout == PASSED, result.stderr
    assert our_lines(result.stderr)[-1] == "sparamx: not used: another copy of this plugin is in use already"


def test_threads_that_load_together(linked):
    for _ in range(20):
        result = linked.check("device_checks", "threads", SPARAMX_MODE="accel")
        assert result.stdout == PASSED, result.stderr


@pytest.fixture
def rpc_server(linked, tmp_path):
    """rpc_server(mode, device): the address of an rpc-server with the plugin, and its log."""
    servers = []

    def start(mode, device):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment = clean_environment(SPARAMX_LIB=linked.library, SPARAMX_REFERENCE=1, SPARAMX_MODE=mode,
                                        GGML_BACKEND_PATH=linked.plugin)
        log = tmp_path / "server.log"
        command = [linked.made / "rpc-server", "-H", "127.0.0.1", "-p", str(port), "-d", device]
        with open(log, "w") as file:
            servers.append(subprocess.Popen(command, env=environment, stdout=file, stderr=file))
        for _ in range(200):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        return f"127.0.0.1:{port}", log
    yield start
    for server in servers:
        server.kill()
        server.wait()


def test_rpc_server(linked, rpc_server):
    address, log = rpc_server("accel", "SPARAMX")
    backend = linked.made / "libggml-rpc.so"
    result = linked.check("device_checks", "rpc", backend, address, "product")
    assert result.stdout == PASSED, result.stderr
    result = linked.check("device_checks", "rpc", backend, address, "add")
    assert result.returncode != 0 and "all checks passed" not in result.stdout
    lines = [line for line in our_lines(log.read_text(errors="replace")) if "cannot compute" in line]
    assert len(lines) == 1 and "ADD" in lines[0]


def test_rpc_server_of_the_cpu(linked, rpc_server):
    """It asks no buffer type for weights, so they are the host's, as are the products, and a line says so."""
    address, log = rpc_server("inject", "CPU")
    for what in ("product", "add"):
        result = linked.check("device_checks", "rpc", linked.made / "libggml-rpc.so", address, what)
        assert result.stdout == PASSED, result.stderr
    loaded, took = our_lines(log.read_text(errors="replace"))
    assert "loaded, with" in loaded and "nothing taken: the host put " in took and "as an RPC server" in took


def test_not_a_device_for_layers(linked, model):
    result = linked.run("llama-bench", "-m", model("bf16"), "-p", 8, "-n", 0, "-r", 1, "-dev", "SPARAMX",
                        SPARAMX_MODE="accel")
    assert result.returncode == 1, result.stderr
    assert "leave it out of -dev" in our_lines(result.stderr)[-1] and len(our_lines(result.stderr)) == 2


def test_cache_of_the_host(linked, model, text):
    """-nkvo, and statistics of the device."""
    result = linked.must_run("llama-perplexity", "-m", model("bf16"), "-f", text, "-c", 128, "--chunks", 1, "-nkvo",
                             "-v", SPARAMX_MODE="accel", SPARAMX_STATS=1)
    log = result.stdout + result.stderr
    assert reported_mib(log) == pytest.approx(expected_mib(model("bf16")), abs=0.006)
    assert " products, " in log and ", packed " in log


@pytest.mark.parametrize("mode", ["inject", "accel"])
def test_training(linked, model, tmp_path, mode):
    """Of a model of which nothing is taken; what a training adds is the host's."""
    build_host.add_tools("linked", ["llama-finetune"])
    path = tmp_path / "f32.gguf"
    linked.must_run("llama-quantize", model("bf16"), path, "F32", plugin=False)
    words = tmp_path / "words.txt"
    words.write_text("one two three four " * 400)
    tuned = tmp_path / "tuned.gguf"
    result = linked.must_run("llama-finetune", "-m", path, "-f", words, "-c", 64, "-b", 64, "-ub", 64, "-o", tuned,
                             "-t", 2, "--epochs", 1, SPARAMX_MODE=mode, LD_PRELOAD=linked.plugin)
    assert tuned.stat().st_size > 0
    assert any("nothing taken" in line for line in our_lines(result.stderr))
