"""Small GGUF files around every rule of the format, each with the verdict that an engine's reader gives: corpus()
yields (name, bytes or a function that writes the file, whether it is accepted).
"""
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
TYPES = {0: (1, 4), 1: (1, 2), 2: (32, 18), 8: (32, 34), 30: (1, 2), 42: (64, 18)}  # elements, bytes of a block


def text(s):
    s = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(s)) + s


def key(name, kind, value):
    return text(name) + struct.pack("<I", kind) + value


def u32(name, value):
    return key(name, U32, struct.pack("<I", value))


ARCHITECTURE = key("general.architecture", STRING, text("llama"))


def n_bytes(shape, kind):
    block, size = TYPES.get(kind, (1, 4))
    n = 1
    for part in shape:
        n *= part
    return n // block * size if 0 <= n < 2**30 else 0  # shapes that no file can hold get no data


def file(tensors=(("a", (32, 2), 0),), keys=(ARCHITECTURE,), version=3, alignment=32, magic=b"GGUF", offsets=None,
         cut=0, n_tensors=None, n_keys=None, head=None):
    """tensors: (name, shape, type). offsets replaces what follows from the sizes; cut drops bytes at the end."""
    entries, at, data = b"", 0, 0
    for i, (name, shape, kind) in enumerate(tensors):
        offset = at if offsets is None else offsets[i]
        entries += text(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", n % 2**64) for n in shape)
        entries += struct.pack("<IQ", kind, offset)
        size = n_bytes(shape, kind)
        data = max(data, min(offset, 1 << 20) + size)
        at += -(-size // alignment) * alignment
    start = magic + (head or struct.pack("<IQQ", version, len(tensors) if n_tensors is None else n_tensors,
                                         len(keys) if n_keys is None else n_keys))
    content = start + b"".join(keys) + entries
    content += bytes(-len(content) % alignment)
    content += bytes(max(data, at))
    return content[:len(content) - cut]


def aligned(n):
    return file((("a", (3,), 0), ("b", (32, 2), 8)), (ARCHITECTURE, u32("general.alignment", n)), alignment=max(n, 1))


def beyond_4_gib(path):
    """A sparse file: two tensors of 3 GiB, of which no byte is written. F64: nobody multiplies by them."""
    content = file((("a", (1024,), 0),), n_tensors=1)
    head = content[:content.index(text("a"))]
    head = head[:8] + struct.pack("<Q", 2) + head[16:]
    entries = b""
    for i, name in enumerate("ab"):
        entries += text(name) + struct.pack("<IQ", 1, 3 << 27) + struct.pack("<IQ", 28, i * (3 << 30))
    with open(path, "wb") as out:
        out.write(head + entries)
        out.truncate(-(-len(head + entries) // 32) * 32 + (6 << 30))


def corpus():
    for n in (1, 2, 4, 8, 16, 32, 64, 128, 512, 4096):
        yield f"alignment {n}", aligned(n), True
    yield "alignment 0", aligned(0), False
    yield "alignment 12", file(keys=(ARCHITECTURE, u32("general.alignment", 12)), alignment=12), False
    yield "alignment of 64 bits", file(keys=(ARCHITECTURE, key("general.alignment", U64, struct.pack("<Q", 32)))), False
    yield "alignment of 16 bits", file(keys=(ARCHITECTURE, key("general.alignment", U16, struct.pack("<H", 32)))), False
    for version, good in ((0, False), (1, False), (2, True), (3, True), (4, False), (0x30000, False)):
        yield f"version {version}", file(version=version), good
    yield "big endian", file(head=struct.pack(">IQQ", 3, 1, 1)), False
    yield "another magic", file(magic=b"GGML"), False
    yield "no tensors", file(()), True
    yield "no tensors, no keys", file((), ()), True
    yield "no keys", file(keys=()), True
    yield "empty tensor", file((("a", (0, 4), 0), ("b", (32,), 0))), True
    yield "empty tensor of blocks", file((("a", (0, 4), 8),)), True
    yield "empty in its fourth dimension", file((("a", (32, 2, 2, 0), 0),)), True
    yield "scalar", file((("a", (), 0), ("b", (32,), 0))), True
    yield "scalar of blocks", file((("a", (), 8),)), False
    yield "four dimensions", file((("a", (32, 2, 3, 4), 8),)), True
    yield "five dimensions", file((("a", (32, 2, 1, 1, 1), 0),)), False
    yield "negative dimension", file((("a", (32, -1), 0),)), False
    yield "too many elements", file((("a", (1 << 32, 1 << 32), 0),)), False
    yield "too many, then none", file((("a", (1 << 32, 1 << 32, 0), 0),)), False
    yield "too many bytes", file((("a", (1 << 62,), 28),)), False
    yield "no whole blocks", file((("a", (33, 2), 8),)), False
    yield "a removed type", file((("a", (32, 2), 4),)), False
    yield "another removed type", file((("a", (32, 2), 36),)), False
    yield "the newest type", file((("a", (64, 2), 42),)), True
    yield "name of 63 bytes", file((("n" * 63, (32,), 0),)), True
    yield "name of 64 bytes", file((("n" * 64, (32,), 0),)), False
    yield "empty name", file((("", (32,), 0),)), True
    yield "name with a zero byte", file((("a\0b", (32,), 0), ("a", (32,), 0))), True
    yield "the same name twice", file((("a", (32,), 0), ("a", (32,), 0))), False
    yield "the same key twice", file(keys=(ARCHITECTURE, u32("x", 1), u32("x", 1))), False
    yield "empty key", file(keys=(ARCHITECTURE, u32("", 1))), False
    yield "key of 100,000 bytes", file(keys=(ARCHITECTURE, u32("k" * 100000, 1))), True
    yield "overlapping data", file((("a", (32,), 0), ("b", (32,), 0)), offsets=(0, 64)), False
    yield "shared data", file((("a", (32,), 0), ("b", (32,), 0)), offsets=(0, 0)), False
    yield "a gap between tensors", file((("a", (32,), 0), ("b", (32,), 0)), offsets=(0, 256)), False
    yield "tensors in another order", file((("a", (32,), 0), ("b", (32,), 0)), offsets=(128, 0)), False
    yield "first tensor not at 0", file(offsets=(32,)), False
    yield "data not aligned", file((("a", (3,), 0), ("b", (32,), 0)), offsets=(0, 12)), False
    yield "offset at the end of all numbers", file(offsets=(2**64 - 32,)), False
    yield "missing end padding", file((("a", (3,), 0),), cut=20), True
    yield "one byte too few", file((("a", (3,), 0),), cut=21), False
    yield "no data", file(cut=256), False
    yield "bytes after the end", file() + b"more", True
    yield "ends before the data of an empty tensor", file((("a", (0,), 0),), keys=(ARCHITECTURE, u32("xyz", 1)),
                                                          cut=1), False
    yield "nested arrays", file(keys=(ARCHITECTURE, key("x", ARRAY, struct.pack("<IQ", ARRAY, 1)
                                                        + struct.pack("<IQ", U8, 1) + b"a"))), False
    yield "array of an unknown type", file(keys=(ARCHITECTURE, key("x", ARRAY, struct.pack("<IQ", 13, 0)))), False
    yield "empty array", file(keys=(ARCHITECTURE, key("x", ARRAY, struct.pack("<IQ", U8, 0)))), True
    yield "empty array of strings", file(keys=(ARCHITECTURE, key("x", ARRAY, struct.pack("<IQ", STRING, 0)))), True
    yield "array that never ends", file(keys=(ARCHITECTURE, key("x", ARRAY, struct.pack("<IQ", F64, 2**61)))), False
    yield "strings that never end", file(keys=(ARCHITECTURE, key("x", ARRAY, struct.pack("<IQ", STRING, 2**61)))), False
    yield "string that never ends", file(keys=(ARCHITECTURE, key("x", STRING, struct.pack("<Q", 2**63)))), False
    yield "unknown value type", file(keys=(ARCHITECTURE, key("x", 13, bytes(8)))), False
    yield "all value types", file(keys=(ARCHITECTURE, *(key(f"x{kind}", kind, bytes(size)) for kind, size in
                                  ((U8, 1), (I8, 1), (U16, 2), (I16, 2), (U32, 4), (I32, 4), (F32, 4), (BOOL, 1),
                                   (STRING, 8),
                                   (U64, 8), (I64, 8), (F64, 8))))), True
    words = b"".join(text(str(i)) for i in range(777000))
    yield "777,000 strings", file(keys=(ARCHITECTURE,
                                        key("tokens", ARRAY, struct.pack("<IQ", STRING, 777000) + words))), True
    yield "more tensors than entries", file(n_tensors=2), False
    yield "2^60 tensors", file(n_tensors=2**60), False
    yield "2^63 tensors", file(n_tensors=2**63), False
    yield "2^60 keys", file(n_keys=2**60), False
    yield "data beyond 4 GiB", beyond_4_gib, True
