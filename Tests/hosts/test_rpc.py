"""Models spread over machines by the host's own RPC backend: unmodified rpc-servers, in which the plugin is the device
(SPARAMX_MODE=rpc, -d SPARAMX)."""

import signal
import subprocess

import pytest

import build_host
from conftest import Host, make_model, our_lines
from rpc import RpcServer
from test_memory import WIDE

MATRICES = 29  # of this model: seven in each of four layers, and the output
ENDING = 60  # seconds in which a client without its server must end
PROMPT = "a few words to begin with"


@pytest.fixture(scope="module")
def dynamic():
    host = Host("dynamic")
    build_host.add_tools("dynamic", ["llama-completion", "ggml-rpc-server"])
    return host


@pytest.fixture(scope="module")
def model(dynamic):
    return lambda kind, *more: make_model(dynamic, "layers4" + ("-moe" if more else ""), kind, 0.5, "--layers", "4",
                                          *more)


@pytest.fixture
def servers(dynamic, tmp_path):
    """servers(n, ...): as many, each on a machine of its own."""
    started = []

    def start(n, **options):
        for _ in range(n):
            log = tmp_path / f"server-{len(started)}.log"
            started.append(RpcServer(dynamic, log, **options).__enter__())
        return started[-n:]
    yield start
    for server in started:
        server.__exit__()


def arguments(path, spread, n):
    where = ["--rpc", ",".join(server.endpoint for server in spread), "-ts", ",".join("1" * len(spread))]
    return ["-m", path, "-n", n, "--temp", 0, "-no-cnv", "-p", PROMPT, "-t", 2, "-c", 512, "--no-warmup",
            *(where if spread else [])]


def text(host, path, spread=(), *more, n=24, **options):
    options = {"plugin": False, **options}
    return host.must_run("llama-completion", *arguments(path, spread, n), *more, **options).stdout


@pytest.mark.parametrize("kind, more", [("bf16", ()), ("q8_0", ()), ("q4_k_m", ()),
                                        ("bf16", ("--experts", "8", "--experts-used", "2"))],
                         ids=["bf16", "q8_0", "q4_k_m", "experts"])
def test_same_text_on_two_servers(dynamic, model, servers, kind, more):
    """As on one, as here with the plugin, and with BF16 weights as without it."""
    path = model(kind, *more)
    two = servers(2)
    alone = text(dynamic, path, plugin=True)
    assert text(dynamic, path, two[:1], "-ngl", 99) == alone
    assert text(dynamic, path, two, "-ngl", 99) == alone
    if kind == "bf16":
        assert alone == text(dynamic, path)
    (all_of_it, first), (second,) = (server.took() for server in two)
    assert all_of_it[0] == MATRICES and first[0] + second[0] == MATRICES and first[0] > 7 and second[0] > 7
    assert first[1] + second[1] == pytest.approx(all_of_it[1], abs=0.11)
    assert all(packed < came for _, came, packed in (all_of_it, first, second))
    assert not any("not only" in line for server in two for line in our_lines(server.log()))


def test_layers_here_and_there(dynamic, model, servers):
    """Two layers and the output on the servers, the others here, with the plugin in all three processes."""
    path = model("bf16")
    two = servers(2)
    result = dynamic.must_run("llama-completion", *arguments(path, two, 24), "-ngl", 3)
    assert result.stdout == text(dynamic, path)
    here = [line for line in our_lines(result.stderr) if "took 14 matrices" in line]
    assert len(here) == 1 and sum(server.took()[0][0] for server in two) == MATRICES - 14


def test_memory_of_servers(dynamic, servers):
    """Weights that are packed as they arrive were never there as they came."""
    path = make_model(dynamic, "memory-wide", "bf16", 0.5, *WIDE)
    plain, ours = *servers(1, plugin=False), *servers(1)
    for server in (plain, ours):
        text(dynamic, path, [server], "-ngl", 99, n=1)
    (_, came, packed), = ours.took()
    saved = (plain.kib("VmHWM") - ours.kib("VmHWM")) * 1024 / 1e6
    print(f"{came} MB packed to {packed} MB; at most resident: {plain.kib('VmHWM')} KiB, with the plugin "
          f"{ours.kib('VmHWM')} KiB, {saved:.1f} MB less")
    assert saved > came - packed - 6 and came - packed > 25  # MB: the library itself, and what it packs with
    # The client has gone, and with it everything that the server held for it.
    assert ours.kib("RssAnon") * 1024 < 0.5 * packed * 1e6


def test_server_that_dies(dynamic, model, servers):
    """The client ends with the host's own error; the other server goes on, and so does one that is started again."""
    path = model("bf16")
    two = servers(2)
    expected = text(dynamic, path, two, "-ngl", 99)
    command, environment = dynamic.command("llama-completion", *arguments(path, two, 480), "-ngl", 99, "--ignore-eos",
                                           plugin=False)
    client = subprocess.Popen(list(map(str, command)), env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert client.stdout.read(len(PROMPT) + 20)
        two[1].process.kill()
        _, errors = client.communicate(timeout=ENDING)
    finally:
        client.kill()
    # Receiving fails, and the host says so; or sending does, and the host has not asked not to be signalled.
    assert (client.returncode == -signal.SIGABRT and b"RPC server crashed" in errors or
            client.returncode == -signal.SIGPIPE), (client.returncode, errors[-2000:])
    print(f"the client ended with {client.returncode}")
    assert two[0].process.poll() is None
    two[1].process.wait()
    two[1].start()
    assert text(dynamic, path, two, "-ngl", 99) == expected
    assert text(dynamic, path, two[:1], "-ngl", 99) == expected


def test_client_that_dies(dynamic, model, servers):
    """The server frees what it held, and serves the next one."""
    path = model("bf16")
    server, = servers(1)
    command, environment = dynamic.command("llama-completion", *arguments(path, [server], 480), "-ngl", 99,
                                           "--ignore-eos", plugin=False)
    client = subprocess.Popen(list(map(str, command)), env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert client.stdout.read(len(PROMPT) + 20)
    client.kill()
    client.communicate(timeout=ENDING)
    assert text(dynamic, path, [server], "-ngl", 99) == text(dynamic, path)
    assert len(server.took()) == 2


def test_what_a_server_leaves(dynamic, model, servers):
    """The same rules and variables as everywhere, and a line that says so."""
    rule = {"SPARAMX_LEAVE": "^blk.0.,attn_k"}
    server, = servers(1, **rule)
    assert text(dynamic, model("bf16"), [server], "-ngl", 99) == text(dynamic, model("bf16"), plugin=True, **rule)
    line = our_lines(server.log())[-1]
    assert "took 19 matrices" in line and "10 matrices left to the host" in line and "SPARAMX_LEAVE" in line


def test_without_the_device(dynamic, model, servers):
    """-d CPU: nothing is taken, and a line says what is missing."""
    server, = servers(1, device="CPU")
    assert text(dynamic, model("bf16"), [server], "-ngl", 99) == text(dynamic, model("bf16"))
    assert server.took() == [] and "RPC server without -d SPARAMX" in our_lines(server.log())[-1]


def test_every_access(dynamic, servers):
    """Weights are memory for everybody but the library's products."""
    result = dynamic.check("rpc_checks", "here", SPARAMX_MODE="rpc")
    assert result.stdout == "all checks passed\n", result.stderr
    lines = our_lines(result.stderr)
    for what in ("took 3 matrices", "ffn_gate.weight is not only a weight of products (GET_ROWS)", "(CPY)"):
        assert any(what in line for line in lines), what
    server, = servers(1)
    result = dynamic.check("rpc_checks", "there", dynamic.bin / "libggml-rpc.so", server.endpoint)
    assert result.stdout == "all checks passed\n", result.stderr
    assert len(server.took()) > 20


def test_packed_once(dynamic, model, servers, tmp_path):
    """SPARAMX_CACHE: what a server has packed is mapped when it, or another one, is sent the same."""
    folder = tmp_path / "packed"
    folder.mkdir(mode=0o700)
    path = model("bf16")
    texts = []
    for server in servers(2, SPARAMX_CACHE=folder):
        texts += [text(dynamic, path, [server], "-ngl", 99) for _ in range(2)]
        said = [line for line in our_lines(server.log()) if "of them" in line and str(folder) in line]
        assert len(server.took()) == 2 and len(said) == 2 and f"{MATRICES} of them mapped from" in said[1]
    assert len(set(texts)) == 1 and len(list(folder.iterdir())) == 1


def test_files_in_the_servers_own_cache(dynamic, model, servers, tmp_path):
    """rpc-server -c keeps what it was sent; the second load sends nothing. Of matrices of 10 MB and more alone."""
    path = make_model(dynamic, "memory-wider", "bf16", 0.5, *WIDE, "--ff", "8192", "--layers", "1")
    server, = servers(1, more=["-c"], XDG_CACHE_HOME=tmp_path, LLAMA_CACHE=tmp_path)
    first = text(dynamic, path, [server], "-ngl", 99, n=2)
    assert list(tmp_path.rglob("rpc/*")), "nothing was kept"
    assert text(dynamic, path, [server], "-ngl", 99, n=2) == first
    assert len(set(server.took())) == 1 and len(server.took()) == 2
