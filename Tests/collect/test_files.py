"""The file as others read it, files that cannot be written, and damaged ones."""

import json
import os
import signal
import struct
import subprocess
import time

import numpy as np
import pytest
from safetensors import safe_open

from conftest import activations, is_close
from container import Fault
from gram import Grams
from test_passes import text

def test_as_the_package_reads_it(session):
    """Names, types, shapes and metadata, without our reader."""
    x = activations(0, 90, 10)
    ids = np.zeros((90, 1), np.int32)
    session.run([session.x(1, x), session.x(2, x[:, None]), session.ids(3, ids), "product a.weight 0 10 1 1",
                 "product b.weight 0 10 1 1", "product c_exps.weight 0 10 4 2 3"])
    with safe_open(session.file, "numpy") as file:
        assert sorted(file.keys()) == ["a.weight.gram", "c_exps.weight.0.gram"]
        lower = file.get_tensor("a.weight.gram")
        metadata = file.metadata()
    wanted = x.astype(np.float64).T @ x.astype(np.float64)
    assert lower.dtype == np.float32 and lower.shape == (55,)
    assert np.allclose(lower, wanted[np.tril_indices(10)], rtol=1e-6)
    assert metadata["format"] == "sparamx-gram-1" and metadata["tokens"] == "90" and metadata["missing"] == "0"
    assert metadata["b.weight.same_as"] == "a.weight" and metadata["c_exps.weight.0.count"] == "90"
    assert metadata["a.weight.count"] == "90" and metadata["c_exps.weight.experts"] == "4"
    assert float(metadata["a.weight.trace"]) == pytest.approx(np.trace(wanted))
    with open(session.file, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
    assert (8 + length) % 64 == 0
    os.umask(mask := os.umask(0))
    assert os.stat(session.file).st_mode & 0o777 == 0o666 & ~mask


def refused(session, **environment):
    said = session.run(text(session)[0], **environment)
    assert len(said) == 1 and said[0].startswith("nothing is collected: "), said
    return said[0].removeprefix("nothing is collected: ")


def test_places_that_cannot_be_written(session, tmp_path):
    assert refused(session, SPARAMX_COLLECT=tmp_path) == f"{tmp_path} is no regular file"
    assert refused(session, SPARAMX_COLLECT="/dev/null") == "/dev/null is no regular file"
    assert "No such file or directory" in refused(session, SPARAMX_COLLECT=tmp_path / "none" / "file")
    assert "cannot be written" in refused(session, SPARAMX_COLLECT=f"{tmp_path}/none/")
    assert "cannot be written" in refused(session, SPARAMX_COLLECT="/proc/file")
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in refused(session, SPARAMX_COLLECT=tmp_path / "pipe")


@pytest.mark.parametrize("name, value", [("MATRICES", "0"), ("MATRICES", "-3"), ("MATRICES", "2.5"), ("MEMORY", "1G"),
                                         ("MEMORY", "99999999999999999999"), ("MEMORY", " 5")])
def test_settings(session, name, value):
    assert f"SPARAMX_COLLECT_{name} is \"{value}\" instead of a whole number from 1 to " in refused(
        session, **{f"SPARAMX_COLLECT_{name}": value})


def test_memory_that_is_too_small_for_one_matrix(session):
    said = session.run([session.x(1, activations(0, 20, 600)), "product a.weight 0 600 1 1"],
                       SPARAMX_COLLECT_MEMORY=1)
    assert said[0] == ("the sums for a.weight take 3 MiB, and 1 MiB may be taken: raise SPARAMX_COLLECT_MEMORY, or "
                       "leave it out (SPARAMX_LEAVE). Nothing more is collected")
    assert "was not written: the sums for a.weight take 3 MiB" in said[1] and not session.file.exists()


def test_full_disk(session, tmp_path):
    """A limit for the size of files stands for it: writing fails in the middle. The old file stays."""
    lines, _ = text(session)
    session.run(lines, SPARAMX_COLLECT_MATRICES=2)
    before = session.file.read_bytes()
    limited = ["sh", "-c", "trap '' XFSZ; ulimit -f 60; exec \"$@\"", "sh"]
    said = session.run(lines, prefix=limited)
    assert "was not written: " in said[-1] and said[-1].endswith("cannot be written: File too large")
    assert session.file.read_bytes() == before and session.left() == []
    session.run(lines)
    assert session.grams().missing == 0


def test_symbolic_link(session):
    """What it points to is replaced, and the link stays."""
    lines, _ = text(session)
    link = session.folder / "link"
    link.symlink_to("out/" + session.file.name)  # which is not there at first
    session.run(lines, SPARAMX_COLLECT=link, SPARAMX_COLLECT_MATRICES=3)
    session.run(lines, SPARAMX_COLLECT=link)
    assert link.is_symlink() and Grams(session.file).missing == 0


def test_foreign_and_damaged_files(session):
    lines, seen = text(session)
    session.run(lines, SPARAMX_COLLECT_MATRICES=3)
    whole = session.file.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    header = json.loads(whole[8:8 + length])

    def with_header(change):
        other = json.loads(json.dumps(header))
        change(other)
        text = json.dumps(other).encode()
        return struct.pack("<Q", len(text)) + text + whole[8 + length:]

    first = next(key for key in header if key != "__metadata__")
    foreign = [b"", b"1234567", b"\xff" * 100, whole[:8 + length // 2], struct.pack("<Q", 1 << 62) + whole[8:],
               with_header(lambda h: h["__metadata__"].update(format="other")),
               with_header(lambda h: h.pop("__metadata__")),
               with_header(lambda h: h[first].update(dtype="F16")),
               with_header(lambda h: h[first].update(shape=[7])),
               with_header(lambda h: h[first].update(shape=[1 << 62], data_offsets=[0, 0])),
               with_header(lambda h: h[first].update(data_offsets=[4, header[first]["data_offsets"][1] + 4])),
               with_header(lambda h: h.pop(first)), b"\x02" + bytes(7) + b"{}", b"\x04" + bytes(7) + b"{\"a\"",
               bytes([9]) + bytes(7) + b"{\"a\\u12\":"]
    for data in foreign:
        session.file.write_bytes(data)
        assert "holds something else than Gram matrices: name another file" in refused(session), data[:60]
        assert session.file.read_bytes() == data
    session.file.write_bytes(whole[:-1])
    assert "is cut off: delete it and begin again" in refused(session)
    # Written again by somebody else's JSON, it is still ours.
    session.file.write_bytes(with_header(lambda h: None))
    session.run(lines)
    assert all(is_close(session.grams().gram(name), x) for name, x in seen.items())


def test_reader_refuses(session, tmp_path):
    lines, _ = text(session)
    session.run(lines, SPARAMX_COLLECT_MATRICES=3)
    whole = session.file.read_bytes()
    with pytest.raises(Fault, match="matrices are to come: run the collecting command again"):
        Grams(session.file).gram("blk.2.ffn_down.weight")
    with pytest.raises(Fault, match="no mixture of experts"):
        Grams(session.file).gram("blk.0.attn_q.weight", 0)
    with pytest.raises(Fault, match="cannot be read: No such file"):
        Grams(tmp_path / "none")
    other = whole.replace(b"sparamx-gram-1", b"sparamx-gram-2")
    for data in (b"", b"text of somebody", whole[:-4], whole[:100], other):
        session.file.write_bytes(data)
        with pytest.raises(Fault, match="is no file of Gram matrices"):
            Grams(session.file)
    session.file.write_bytes(whole[:-4] + struct.pack("<f", np.nan))
    with pytest.raises(Fault, match="holds what is no number"):
        grams = Grams(session.file)
        for name in grams.names():
            grams.gram(name)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed(session, number):
    """At any moment, also while the file is written: it is as it was or complete, and nothing is beside it."""
    lines, _ = text(session)
    session.run(lines, SPARAMX_COLLECT_MATRICES=2)
    before = session.file.read_bytes()
    (session.folder / "script").write_text("\n".join(lines) + "\n")
    started = time.monotonic()
    session.run(lines)
    took = time.monotonic() - started
    ends = set()
    for step in range(12):
        session.file.write_bytes(before)
        process = subprocess.Popen([session.program, session.folder / "script"], stderr=subprocess.DEVNULL,
                                   env={"SPARAMX_COLLECT": str(session.file)})
        time.sleep(took * step / 10)
        process.send_signal(number)
        process.wait()
        after = session.file.read_bytes()
        assert after == before or Grams(session.file).missing == 0
        assert session.left() == []
        ends.add(after == before)
    assert True in ends
