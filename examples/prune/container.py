"""GGUF files, read with every bound checked and written again byte for byte, but for what is changed on purpose."""

import os
import re
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from tqdm import tqdm

COPY_BYTES = 1 << 24
KNOWN = frozenset(int(kind) for kind in gguf.GGML_QUANT_SIZES)


class Fault(Exception):
    """What the user is told, in one sentence."""


class CheckedReader(gguf.GGUFReader):
    """GGUFReader slices past the end of a short file without a word, and a length of 2^60 would keep it busy for
    ever. For a vocabulary of hundreds of thousands of strings it takes many seconds: a bar shows after the first that
    it reads. A tensor of a type that the package does not know is one of bytes, up to the next tensor."""

    def __init__(self, path):
        with tqdm(desc="reading the metadata", unit=" strings", delay=1, disable=not sys.stderr.isatty()) as self.bar:
            super().__init__(path)

    def _build_tensors(self, start, fields):
        known = [field for field in fields if int(field.parts[4][0]) in KNOWN]
        super()._build_tensors(start, known)
        places = sorted(int(field.parts[5][0]) for field in fields) + [len(self.data) - start]
        self.fields_of_tensors = fields
        self.unknown = []
        for field in fields:
            if int(field.parts[4][0]) not in KNOWN:
                begin = int(field.parts[5][0])
                end = next((place for place in places if place > begin), begin)
                self.unknown.append((field, int(end - begin)))
        names = [str(bytes(field.parts[1]), encoding="utf-8") for field in fields]
        if len(set(names)) < len(names):
            raise ValueError("two tensors have the same name")

    def _get_str(self, offset):
        self.bar.update()
        return super()._get_str(offset)

    def _get(self, offset, dtype, count=1, override_order=None):
        if offset + np.dtype(dtype).itemsize * int(count) > len(self.data):
            raise ValueError("it ends too early")
        return super()._get(offset, dtype, count, override_order)


@dataclass(frozen=True)
class Tensor:
    name: str
    type: gguf.GGMLQuantizationType | int  # a number: a type that the package does not know
    shape: tuple[int, ...]  # as numpy has it: the length of a row comes last
    begin: int              # in the file
    n_bytes: int

    @property
    def type_name(self):
        return getattr(self.type, "name", f"type {int(self.type)}")

    @property
    def columns(self):
        return self.shape[-1] if self.shape else 1

    @property
    def rows(self):
        return self.weights // self.columns if self.columns else 0

    @property
    def weights(self):
        return int(np.prod(self.shape, dtype=np.int64))


class Container:
    """One GGUF file: its tensors in the order of their bytes, and the regions between which everything else lies."""

    def __init__(self, path):
        self.path = Path(path)
        try:
            with np.errstate(all="raise"):
                reader = CheckedReader(self.path)
            self._take(reader)
        except OSError as error:
            raise Fault(f"{path} cannot be read: {error.strerror or error}") from None
        except Exception as error:  # the package raises whatever its parsing stumbles over
            reason = str(error).strip("'\"") or type(error).__name__
            raise Fault(f"{path} is no GGUF file that can be used: {reason}") from None

    def _take(self, reader):
        if reader.byte_order != "I":
            raise ValueError("it is big-endian")
        if not reader.tensors and not reader.unknown:
            raise ValueError("it has no tensors")
        self.size = len(reader.data)
        self.fields = reader.fields
        self.alignment = int(reader.alignment)
        self.data_begin = int(reader.data_offset)
        first, last = (reader.fields_of_tensors[i] for i in (0, -1))
        # Between: after version and counts come the keys and values, then one entry per tensor.
        self.infos_begin = first.offset
        self.infos_end = last.offset + sum(part.nbytes for part in last.parts)
        self.version, self.n_tensors, self.n_keys = struct.unpack("<IQQ", reader.data[4:24].tobytes())
        found = [self._tensor(tensor.field, tensor.tensor_type, int(tensor.n_bytes)) for tensor in reader.tensors]
        found += [self._tensor(field, int(field.parts[4][0]), n_bytes) for field, n_bytes in reader.unknown]
        self.tensors = sorted(found, key=lambda tensor: tensor.begin)
        for before, after in zip(self.tensors, self.tensors[1:]):
            if after.begin < before.begin + before.n_bytes:
                raise ValueError(f"the tensors {before.name} and {after.name} overlap")

    def _tensor(self, field, kind, n_bytes):
        # The package adds the offset in 64 bits, which wrap.
        begin = self.data_begin + int(field.parts[5][0])
        shape = tuple(int(n) for n in reversed(field.parts[3]))
        found = Tensor(str(bytes(field.parts[1]), encoding="utf-8"), kind, shape, begin, n_bytes)
        if begin + found.n_bytes > self.size:
            raise ValueError(f"the data of {found.name} end beyond the file")
        if begin % self.alignment:
            raise ValueError(f"the data of {found.name} are not aligned")
        return found

    def value(self, key, default=None):
        field = self.fields.get(key)
        return default if field is None else field.contents()

    def read(self, tensor):
        """A tensor's bytes, one row of the matrix per row: writable, and in memory of their own."""
        raw = np.fromfile(self.path, dtype=np.uint8, count=tensor.n_bytes, offset=tensor.begin)
        if len(raw) != tensor.n_bytes:
            raise Fault(f"{self.path} has become shorter while it was read")
        return raw.reshape(tensor.rows, tensor.n_bytes // tensor.rows if tensor.rows else 0)

    def write_copy(self, path, strings, change):
        """Writes this file to path: the same keys, values and tensors in the same places, the strings {key: text} added
        to the keys, and of each tensor the bytes that change(tensor) returns (None: as they are)."""
        added = b"".join(pack_string(key) + struct.pack("<I", gguf.GGUFValueType.STRING) + pack_string(text)
                         for key, text in strings.items())
        with open(self.path, "rb") as source, open(path, "xb") as out:
            out.write(struct.pack("<IIQQ", gguf.GGUF_MAGIC, self.version, self.n_tensors, self.n_keys + len(strings)))
            source.seek(24)
            copy(source, out, self.infos_begin - 24)
            out.write(added)
            copy(source, out, self.infos_end - self.infos_begin)
            out.write(bytes(-out.tell() % self.alignment))
            source.seek(self.data_begin)
            for tensor in self.tensors:
                copy(source, out, tensor.begin - source.tell())
                changed = change(tensor)
                if changed is None:
                    copy(source, out, tensor.n_bytes)
                else:
                    changed.tofile(out)
                    source.seek(tensor.n_bytes, os.SEEK_CUR)
                del changed  # or it would stay in memory beside the next one
            copy(source, out, self.size - source.tell())


PART = re.compile(r"^(.*)-(\d{5})-of-(\d{5})\.gguf$")


def parts_of(container):
    """The containers of all files of a model of which one is given, in order."""
    count = container.value("split.count", 1)
    if count <= 1:
        return [container]
    name = PART.match(container.path.name)
    if not name or int(name[3]) != count:
        raise Fault(f"{container.path} is one of {count} files of a model, but its name does not say which: give all "
                    f"files their names NAME-00001-of-{count:05}.gguf back")
    return [Container(container.path.with_name(f"{name[1]}-{i:05}-of-{count:05}.gguf")) for i in range(1, count + 1)]


def pack_string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def copy(source, out, n_bytes):
    while n_bytes > 0:
        part = source.read(min(n_bytes, COPY_BYTES))
        if not part:
            raise Fault(f"{source.name} has become shorter while it was read")
        out.write(part)
        n_bytes -= len(part)
