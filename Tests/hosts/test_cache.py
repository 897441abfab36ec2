"""SPARAMX_CACHE: the first load of a model writes its packed weights, later ones map them."""

import os
import random
import re
import resource
import shutil
import subprocess
import time

import gguf
import numpy as np
import pytest

from conftest import make_model, our_lines
from server import Server
from test_memory import MIXTURE, WIDE, packed_bytes

KIB = 1024
MODES = ["inject", "accel"]


@pytest.fixture
def folder(tmp_path):
    """Private, as the tests' umask may not make it."""
    path = tmp_path / "cache"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def model(linked, tmp_path):
    """A copy of a tiny model, old enough to be kept."""
    def copy(kind="bf16", sparsity=0.5, name="model.gguf"):
        return settle(shutil.copy(make_model(linked, "tiny", kind, sparsity), tmp_path / name))
    return copy


def settle(path, age=100):
    """As written some time ago: a model of this moment may change again without another date."""
    when = time.time_ns() - age * 10**9
    os.utime(path, ns=(when, when))
    return path


def generate(linked, path, cache, how="mmap", **environment):
    """The text, and what the plugin says of the cache."""
    options = {"SPARAMX_CACHE": cache, **environment}
    result = linked.must_run("host_checks", "generate", path, 16, 2, 2, how, **options)
    lines = our_lines(result.stderr)
    return result.stdout, [line for line in lines if "took" not in line and "loaded, with" not in line]


def load(linked, path, how, **environment):
    """Seconds, and the anonymous memory that the loaded model takes, in bytes."""
    since = time.monotonic()
    anonymous = linked.must_run("host_checks", "resident", path, how, **environment).stdout
    return time.monotonic() - since, int(anonymous) * KIB


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", ["mmap", "none"])
@pytest.mark.parametrize("kind", ["bf16", "q8_0", "q4_k_m"])
def test_written_then_mapped(linked, folder, kind, how, mode):
    path = settle(make_model(linked, "tiny", kind, 0.5))
    expected, said = generate(linked, path, None, how, SPARAMX_MODE=mode)
    assert said == []
    first, said = generate(linked, path, folder, how, SPARAMX_MODE=mode)
    assert first == expected and len(said) == 1 and "15 of them written to " in said[0]
    file, = folder.iterdir()
    assert str(file) in said[0] and file.stat().st_mode & 0o022 == 0
    assert file.name.startswith(path.name if how == "mmap" else "bytes")
    written = file.stat()
    for _ in range(2):
        again, said = generate(linked, path, folder, how, SPARAMX_MODE=mode)
        assert again == expected and len(said) == 1 and "15 of them mapped from " in said[0]
    assert list(folder.iterdir()) == [file] and file.stat().st_mtime_ns == written.st_mtime_ns


@pytest.mark.parametrize("how", ["mmap", "none"])
@pytest.mark.parametrize("shape", [WIDE, MIXTURE], ids=["dense", "experts"])
def test_time_and_memory_of_a_load(linked, programs, folder, shape, how):
    """A mapped weight takes no memory of the process's own, but for its offsets."""
    path = settle(make_model(linked, "memory-" + ("moe" if shape is MIXTURE else "wide"), "bf16", 0.5, *shape))
    packed = packed_bytes(programs, path)
    plain = load(linked, path, how, plugin=False)[1] if how == "mmap" else 0
    without, _ = load(linked, path, how)
    first, ours = load(linked, path, how, SPARAMX_CACHE=folder)
    second, mapped = load(linked, path, how, SPARAMX_CACHE=folder)
    print(f"{path.stem}, {how}: {without:.2f} s without a cache, {first:.2f} s the first time, {second:.2f} s then; "
          f"anonymous {ours / 2**20:.1f} MiB, then {mapped / 2**20:.1f} MiB, for {packed / 2**20:.1f} MiB packed")
    assert second < without
    assert ours - mapped > 0.9 * packed
    if how == "mmap":
        assert mapped - plain < 0.1 * packed


def shared(server, file):
    """Of the packed file's pages in a server's memory: resident, and its share of them, in bytes."""
    text = open(f"/proc/{server.process.pid}/smaps").read()
    parts = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text, flags=re.M)
    ours = [part for part in parts if file.name in part.split("\n")[0]]
    return [sum(int(re.search(rf"^{field}:\s+(\d+) kB", part, re.M)[1]) for part in ours) * KIB
            for field in ("Rss", "Pss")]


def test_two_processes_have_one_copy(linked, programs, folder, tmp_path):
    path = settle(make_model(linked, "memory-wide", "bf16", 0.5, *WIDE))
    packed = packed_bytes(programs, path)
    load(linked, path, "mmap", SPARAMX_CACHE=folder)
    file, = folder.iterdir()
    with Server(linked, tmp_path / "a.log", path, "-np", 1, SPARAMX_CACHE=folder) as a, \
            Server(linked, tmp_path / "b.log", path, "-np", 1, SPARAMX_CACHE=folder) as b:
        answers = [server.complete("one two", 2)["tokens"] for server in (a, b)]
        assert answers[0] == answers[1]
        pairs = [shared(server, file) for server in (a, b)]
    resident, share = (sum(pair[i] for pair in pairs) for i in (0, 1))
    print(f"{packed / 2**20:.1f} MiB packed: resident {[pair[0] / 2**20 for pair in pairs]} MiB, together "
          f"{share / 2**20:.1f} MiB")
    assert all(0.95 * packed < pair[0] < 1.05 * packed for pair in pairs)
    assert 0.95 * packed < share < 1.05 * packed


def test_a_changed_model_is_noticed(linked, model, folder):
    path = model()
    generate(linked, path, folder)
    file, = folder.iterdir()
    # Another date, then other weights of the same size under the same name, in place and by a new file.
    settle(path, 50)
    assert "written to" in generate(linked, path, folder)[1][0]
    reader = gguf.GGUFReader(path, "r+")
    for tensor in reader.tensors:
        if "ffn_" in tensor.name and "norm" not in tensor.name:
            tensor.data[:] = np.roll(tensor.data, 1, axis=0)
    reader.data.flush()
    settle(path, 40)
    expected = generate(linked, path, None)[0]
    text, said = generate(linked, path, folder)
    assert text == expected and "written to" in said[0]
    other = settle(shutil.copy(make_model(linked, "tiny", "bf16", 0.0), path.with_name("new")), 40)
    os.replace(other, path)
    expected = generate(linked, path, None)[0]
    text, said = generate(linked, path, folder)
    assert text == expected and "written to" in said[0]
    assert generate(linked, path, folder)[0] == expected
    assert list(folder.iterdir()) == [file]  # in place of the old one each time


def test_a_model_of_this_moment(linked, model, folder):
    path = model()
    os.utime(path, (time.time() + 60, time.time() + 60))
    text, said = generate(linked, path, folder)
    assert text == generate(linked, path, None)[0] and "a moment ago" in said[0] and not list(folder.iterdir())


def test_other_bytes_without_a_mapping(linked, model, folder):
    """They are known by their hash."""
    paths = [model("bf16", 0.5, "a"), model("bf16", 0.0, "b")]
    for path in paths * 2:
        assert generate(linked, path, folder, "none")[0] == generate(linked, path, None, "none")[0]
    assert len(list(folder.iterdir())) == 2


def test_more_weights_than_before(linked, model, folder):
    """What is missing is packed, and all of it written."""
    path = model()
    rule = {"SPARAMX_TAKE": "ffn_"}
    assert "6 of them written" in generate(linked, path, folder, **rule)[1][0]
    assert "15 of them written" in generate(linked, path, folder)[1][0]
    assert "6 of them mapped" in generate(linked, path, folder, **rule)[1][0]
    assert "15 of them mapped" in generate(linked, path, folder)[1][0]


@pytest.mark.parametrize("what", ["cut", "empty", "other", "bit", "folder"])
def test_a_damaged_file(linked, model, folder, what):
    path = model()
    expected = generate(linked, path, folder)[0]
    file, = folder.iterdir()
    data = bytearray(file.read_bytes())
    if what == "folder":
        file.unlink()
        file.mkdir()
    else:
        data[20] ^= 1
        # Another file in its place: one that is mapped is never changed.
        file.unlink()
        file.write_bytes({"cut": data[:len(data) // 2], "empty": b"", "other": b"x" * 5000, "bit": data}[what])
        file.chmod(0o600)
    text, said = generate(linked, path, folder)
    assert text == expected
    if what == "folder":
        assert any("not used" in line for line in said) and any("not written" in line for line in said)
    else:
        assert "15 of them written" in said[-1]
        assert "15 of them mapped" in generate(linked, path, folder)[1][-1]


@pytest.mark.parametrize("what", ["others", "group", "foreign", "file", "missing"])
def test_a_folder_that_is_not_private(linked, model, folder, what):
    path = model()
    if what == "foreign":
        if os.geteuid() != 0:
            pytest.skip("only root can give a folder away")
        os.chown(folder, 12345, -1)
    elif what == "missing":
        folder = folder / "no" / "such"
    elif what == "file":
        folder.rmdir()
        folder.write_text("")
    else:
        folder.chmod(0o702 if what == "others" else 0o770)
    text, said = generate(linked, path, folder)
    assert text == generate(linked, path, None)[0]
    assert len(said) == 1 and "SPARAMX_CACHE is not used" in said[0] and str(folder) in said[0]
    assert not folder.is_dir() or not list(folder.iterdir())


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_can_write(linked, model, folder, mode):
    path = model()
    expected = generate(linked, path, folder)[0]
    file, = folder.iterdir()
    file.chmod(mode)
    text, said = generate(linked, path, folder)
    assert text == expected and "nobody else may write to it" in said[0] and "written to" in said[1]
    assert file.stat().st_mode & 0o022 == 0  # a new one
    assert "mapped from" in generate(linked, path, folder)[1][0]


def test_a_link_is_not_followed(linked, model, folder, tmp_path):
    path = model()
    expected = generate(linked, path, folder)[0]
    file, = folder.iterdir()
    elsewhere = tmp_path / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    text, said = generate(linked, path, folder)
    assert text == expected and "not used" in said[0] and "not written" in said[-1]


@pytest.mark.parametrize("umask, folder_mode, kept",
                         [(0o002, 0o700, True), (0o000, 0o755, False), (0o022, 0o755, True)])
def test_umask(linked, model, folder, umask, folder_mode, kept):
    """Never, not even for a moment, could somebody else write to the file."""
    path = model()
    folder.chmod(folder_mode)
    before = os.umask(umask)
    try:
        said = generate(linked, path, folder)[1]
    finally:
        os.umask(before)
    assert ("written to" in said[0] and "not written" not in said[0]) == kept
    assert kept or "umask" in said[0]
    assert all(file.stat().st_mode & 0o022 == 0 for file in folder.iterdir()) and len(list(folder.iterdir())) == kept


def test_a_read_only_folder(linked, model, folder):
    """One line, and on without; what is there already is mapped."""
    path = model()
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    if subprocess.run(["unshare", "-m", "sh", "-c", script, folder, "true"], capture_output=True).returncode != 0:
        pytest.skip("no mount namespaces here")

    def read_only():
        command, environment = linked.command("host_checks", "generate", path, 16, 2, 2, "mmap", SPARAMX_CACHE=folder)
        result = subprocess.run(["unshare", "-m", "sh", "-c", script, folder, *map(str, command)], env=environment,
                                capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return result.stdout, [line for line in our_lines(result.stderr) if "cache" in line]
    text, said = read_only()
    assert text == generate(linked, path, None)[0] and not list(folder.iterdir())
    assert len([line for line in said if "not written" in line]) == 1 and "Read-only" in said[-1]
    generate(linked, path, folder)
    text, said = read_only()
    assert "mapped from" in said[0] and len(said) == 1


def test_a_full_disk(linked, model, folder):
    """Here a file that may not become as long: nothing is left of it, and the host goes on."""
    path = model()
    command, environment = linked.command("host_checks", "generate", path, 16, 2, 2, "mmap", SPARAMX_CACHE=folder)
    result = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True,
                            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000)))
    assert result.returncode == 0 and result.stdout == generate(linked, path, None)[0]
    assert any("not written" in line and "File too large" in line for line in our_lines(result.stderr))
    assert not list(folder.iterdir())


def test_a_killed_writer(linked, folder, programs):
    """Whenever it is killed: the next load has the right weights, and at most one file is there."""
    path = settle(make_model(linked, "memory-wide", "bf16", 0.5, *WIDE))
    lasts, _ = load(linked, path, "mmap")
    dice = random.Random(1)
    for _ in range(12):
        command, environment = linked.command("host_checks", "resident", path, "mmap", SPARAMX_CACHE=folder)
        process = subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        time.sleep(lasts * dice.uniform(0.3, 1.2))
        process.kill()
        process.wait()
        assert len([file for file in folder.iterdir() if not file.name.startswith(".")]) <= 1
    generate(linked, path, folder)
    text, said = generate(linked, path, folder)
    assert text == generate(linked, path, None)[0] and "mapped from" in said[0]


def test_two_writers(linked, model, folder):
    path = model()
    command, environment = linked.command("host_checks", "generate", path, 16, 2, 2, "mmap", SPARAMX_CACHE=folder)
    both = [subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True) for _ in range(2)]
    texts = [process.communicate(timeout=300)[0] for process in both]
    assert texts[0] == texts[1] == generate(linked, path, None)[0]
    assert len(list(folder.iterdir())) == 1 and "mapped from" in generate(linked, path, folder)[1][0]
