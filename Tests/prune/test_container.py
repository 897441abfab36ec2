"""Everything that is not pruned is carried over byte for byte, and what is broken is refused in one sentence."""

import json
import os
import resource
import struct
import subprocess
import sys

import gguf
import numpy as np
import pytest

from conftest import PRUNE, PRUNED, Type, prune, random_tensors, refused, run, tensors_of, weights_of, write_model


def strange_metadata(writer):
    """What GGUFWriter's own readers and writers do not give back as it was."""
    writer.add_key_value("test.empty", "", gguf.GGUFValueType.STRING)
    writer.add_key_value("test.latin1", b"\xe9\xff\x00", gguf.GGUFValueType.STRING)
    writer.add_float32("test.nan", float("nan"))
    writer.add_float64("test.double", 0.1)
    writer.add_uint64("test.large", 2**64 - 1)
    writer.add_bool("test.bool", True)
    writer.add_array("test.words", ["a", "\u2581b", ""])
    writer.add_array("test.bytes", bytes(range(256)))
    writer.add_int8("test.small", -128)


def regions(path):
    """(keys and values, tensor entries, data) as bytes, found by the entries' own offsets."""
    reader, data = gguf.GGUFReader(path), path.read_bytes()
    begin = reader.tensors[0].field.offset
    return data[24:begin], data[begin:reader.data_offset].rstrip(b"\0"), data[reader.data_offset:]


@pytest.mark.parametrize("alignment", [None, 8, 256])
def test_byte_for_byte(tmp_path, model, alignment):
    before = model(Type.Q8_0, alignment=alignment, more=strange_metadata)
    after = tmp_path / "out.gguf"
    prune(before, after)
    old, new = regions(before), regions(after)
    assert new[0].startswith(old[0])
    assert new[1] == old[1]
    assert len(new[2]) == len(old[2])
    # In the data, only pruned tensors differ; gaps and the end are as they were.
    expected = bytearray(old[2])
    reader = gguf.GGUFReader(after)
    for tensor in reader.tensors:
        if tensor.name in PRUNED:
            at = tensor.data_offset - reader.data_offset
            expected[at:at + tensor.n_bytes] = new[2][at:at + tensor.n_bytes]
    assert bytes(expected) == new[2]
    assert new[2] != old[2]
    assert set(reader.fields) - set(gguf.GGUFReader(before).fields) == {"sparamx.prune.1"}


def test_record_and_a_second_time(tmp_path, model):
    before = model()
    prune(before, tmp_path / "a.gguf", "--share", 0.5)
    prune(tmp_path / "a.gguf", tmp_path / "b.gguf", "--share", 0.75, "--exclude", "attn")
    fields = gguf.GGUFReader(tmp_path / "b.gguf").fields
    first, second = (json.loads(fields[f"sparamx.prune.{i}"].contents()) for i in (1, 2))
    assert first["score"] == "magnitude" and first["shares"] == {name: 0.5 for name in PRUNED} and first["tensors"] == 3
    assert second["shares"] == {name: 0.75 for name in PRUNED[1:]} and second["exclude"] == "attn"
    tensors = tensors_of(tmp_path / "b.gguf")
    assert [float((weights_of(tensors[name]) == 0).mean()) for name in PRUNED] == [0.5, 0.75, 0.75]


def test_dry_run(tmp_path, model):
    before = model()
    out = prune(before, tmp_path / "out.gguf", "--dry-run")
    lines = {line.split()[0] for line in out.splitlines()}
    assert lines >= set(PRUNED) and "token_embd.weight" not in lines and "would leave token_embd (BF16)" in out
    assert os.listdir(tmp_path) == ["in.gguf"]


def test_never_overwrites(tmp_path, model):
    before = model()
    whole = before.read_bytes()
    assert "never overwritten" in refused(before, before, before, "--force")
    (tmp_path / "link").symlink_to(before)
    os.link(before, tmp_path / "hard")
    assert "never overwritten" in refused(before, before, tmp_path / "link", "--force")
    assert "never overwritten" in refused(before, tmp_path / "hard", before, "--force")
    (tmp_path / "other").write_text("precious")
    assert "--force" in refused(before, before, tmp_path / "other")
    assert (tmp_path / "other").read_text() == "precious"
    prune(before, tmp_path / "other", "--force")
    assert before.read_bytes() == whole
    assert "does not exist" in refused(before, before, tmp_path / "nowhere" / "out.gguf")
    assert "cannot be read" in refused(before, tmp_path / "nowhere", tmp_path / "out.gguf")
    assert "cannot be read" in refused(before, tmp_path, tmp_path / "out.gguf")


def test_truncated_anywhere(tmp_path, model):
    whole = model(Type.Q4_0).read_bytes()
    data_begin = gguf.GGUFReader(tmp_path / "in.gguf").data_offset
    rng = np.random.default_rng(2)
    lengths = {0, 1, 4, 8, 16, 23, 24, data_begin, len(whole) - 1,
               *rng.integers(24, data_begin, 12), *rng.integers(data_begin, len(whole), 4)}
    for length in sorted(lengths):
        (tmp_path / "in.gguf").write_bytes(whole[:length])
        assert "in.gguf" in refused(tmp_path / "x", tmp_path / "in.gguf", tmp_path / "out.gguf"), length


ENDS = {"beyond": "end beyond the file", "misaligned": "are not aligned"}


def test_corrupted(tmp_path, model):
    before = model(Type.Q8_0)
    whole = before.read_bytes()
    info = gguf.GGUFReader(before).tensors[1].field  # of token_embd's neighbour
    name_length, name, n_dims, dims, kind, offset = (part.nbytes for part in info.parts)
    at_dims = info.offset + name_length + name + n_dims
    huge = struct.pack("<Q", 2**64 - 32)
    faults = {
        "magic": (0, b"GGML"), "version": (4, struct.pack("<I", 9)), "tensors": (8, huge), "keys": (16, huge),
        "key length": (24, huge), "type": (24 + 8 + len("general.architecture"), struct.pack("<I", 99)),
        "name length": (info.offset, huge), "dimensions": (at_dims - 4, struct.pack("<I", 2**31)),
        "columns": (at_dims, struct.pack("<Q", 255)), "rows": (at_dims + 8, huge),
        "wrap": (at_dims, struct.pack("<QQ", 2**63, 2)),
        "offset": (at_dims + dims + kind, huge),
        "misaligned": (at_dims + dims + kind, struct.pack("<Q", 7)),
        "beyond": (at_dims + dims, struct.pack("<IQ", 999, 2**40)),  # of a type that the package does not slice
        "overlap": (at_dims + dims + kind, struct.pack("<Q", 0)),
        "same name": (info.offset + 8, b"\xff\xfe"),
    }
    for what, (at, data) in faults.items():
        before.write_bytes(whole[:at] + data + whole[at + len(data):])
        sentence = refused(before, before, tmp_path / "out.gguf")
        assert "in.gguf" in sentence and "not defined" not in sentence, what
        if what in ENDS:
            assert f"the data of blk.0.attn_q.weight {ENDS[what]}." in sentence


def test_misaligned_at_the_end(tmp_path, model):
    """The last tensor eight bytes later, in room that the file has."""
    before = model(Type.Q8_0)
    offset = gguf.GGUFReader(before).tensors[-1].field
    at = offset.offset + sum(part.nbytes for part in offset.parts) - 8
    data = bytearray(before.read_bytes() + bytes(64))
    struct.pack_into("<Q", data, at, struct.unpack_from("<Q", data, at)[0] + 8)
    before.write_bytes(data)
    name = gguf.GGUFReader(before).tensors[-1].name
    assert f"the data of {name} are not aligned." in refused(before, before, tmp_path / "out.gguf")


def test_array_that_never_ends(tmp_path):
    """gguf.GGUFReader itself would count to 2^60."""
    data = b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 0, 2**60)
    (tmp_path / "in.gguf").write_bytes(data + bytes(64))
    refused(tmp_path / "x", tmp_path / "in.gguf", tmp_path / "out.gguf")


def test_full_disk(tmp_path, model):
    """The output may not grow beyond 16 KB, as if the disk were full."""
    before = model()
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384))  # noqa: E731
    assert "cannot be written" in refused(before, before, tmp_path / "out.gguf", preexec_fn=limit)


def test_bad_arguments_are_refused(tmp_path, model):
    before = model()
    for bad in (["--share", "1"], ["--share", "-0.1"], ["--share", "half"], ["--pattern", "1:4"], ["--include", "("],
                ["--pattern", "2:4", "--share", "0.5"], ["--pattern", "2:4", "--scope", "tensor"], ["--threads", "0"],
                ["--shares", before, "--scope", "model"]):
        result = run(before, tmp_path / "out.gguf", *bad)
        assert result.returncode == 2 and "Traceback" not in result.stderr, bad
    assert os.listdir(tmp_path) == ["in.gguf"]


MEASURED = """
import re, runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


def peak_mib(*arguments):
    """Not by wait4: its maximum includes what this process was when it forked."""
    command = [sys.executable, "-c", MEASURED, PRUNE / "prune.py", "--magnitude", *arguments]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True,
                            env={**os.environ, "PYTHONPATH": str(PRUNE)})
    return int(result.stdout.splitlines()[-1]) / 1024


@pytest.mark.parametrize("scope", ["row", "tensor", "model"])
def test_memory_is_bounded_by_the_largest_tensor(tmp_path, scope):
    """Eight tensors need no more memory than one: 32 MiB each here."""
    rng = np.random.default_rng(4)
    w = rng.standard_normal((4096, 4096), dtype=np.float32)
    peaks = []
    for n in (1, 8):
        path = write_model(tmp_path / "in.gguf", {f"blk.{i}.ffn_up.weight": w for i in range(n)}, Type.BF16)
        peaks.append(peak_mib(path, tmp_path / "out.gguf", "--scope", scope, "--force", "--threads", 2))
    assert peaks[1] < peaks[0] + 64, peaks  # all eight would be 224 more; malloc keeps some chunks of the threads
