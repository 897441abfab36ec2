#!/usr/bin/env python3
"""patch_cpuid.py IN.so OUT.so - a copy of a library whose CPUID and XGETBV libtile-emulator.so can answer.

Every cpuid (0F A2) becomes 27 A2 and every xgetbv (0F 01 D0) becomes UD0 eax, eax (0F FF C0). Both raise SIGILL; 27 is
no instruction in 64-bit mode. UD2 is left alone on purpose: compilers write it for traps, which must stay traps.

OUT.so must have ".emulated." in its name, for the emulator acts only on such files. Exit status 1 if the library has
no cpuid or no xgetbv (then there is nothing to emulate, and a test that relies on it would test nothing), 2 on errors.
"""
import os
import re
import struct
import subprocess
import sys

PATCHES = {
    "cpuid": (bytes.fromhex("0fa2"), bytes.fromhex("27a2")),
    "xgetbv": (bytes.fromhex("0f01d0"), bytes.fromhex("0fffc0")),
}


class Failure(Exception):
    def __init__(self, message, status=2):
        super().__init__(message)
        self.status = status


def load_segments(image):
    """(address, file offset, bytes in the file) of each PT_LOAD of a 64-bit little-endian x86-64 ELF file."""
    if image[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", image, 18)[0] != 62:
        raise Failure("not an x86-64 ELF file")
    table, = struct.unpack_from("<Q", image, 32)
    size, number = struct.unpack_from("<HH", image, 54)
    segments = []
    for i in range(number):
        kind, _flags, offset, address, _physical, file_size = struct.unpack_from("<IIQQQQ", image, table + i * size)
        if kind == 1:
            segments.append((address, offset, file_size))
    return segments


def file_offset(segments, address, length):
    for start, offset, size in segments:
        if start <= address and address + length <= start + size:
            return address - start + offset
    raise Failure(f"address {address:#x} is in no segment")


def instructions(path):
    """(name, address) of each cpuid and xgetbv that objdump finds."""
    environment = dict(os.environ, LC_ALL="C")
    process = subprocess.Popen(["objdump", "-d", "--no-show-raw-insn", path], stdout=subprocess.PIPE, text=True,
                               errors="replace", env=environment)
    line = re.compile(r"^\s*([0-9a-f]+):\s+(cpuid|xgetbv)\b")
    for text in process.stdout:
        match = line.match(text)
        if match:
            yield match.group(2), int(match.group(1), 16)
    if process.wait() != 0:
        raise Failure("objdump failed")


def patch(source, target):
    if ".emulated." not in os.path.basename(target):
        raise Failure(f'{target}: the name must contain ".emulated."')
    if os.path.exists(target) and os.path.samefile(source, target):
        raise Failure("IN.so and OUT.so are the same file")
    with open(source, "rb") as file:
        image = bytearray(file.read())
    segments = load_segments(image)
    found = dict.fromkeys(PATCHES, 0)
    for name, address in instructions(source):
        old, new = PATCHES[name]
        offset = file_offset(segments, address, len(old))
        if image[offset:offset + len(old)] != old:
            raise Failure(f"{name} at {address:#x}: unexpected bytes {image[offset:offset + len(old)].hex()}")
        image[offset:offset + len(old)] = new
        found[name] += 1
    for name, number in found.items():
        if number == 0:
            raise Failure(f"{source} has no {name}", 1)
    temporary = f"{target}.{os.getpid()}.tmp"
    with open(temporary, "wb") as file:
        file.write(image)
    os.chmod(temporary, os.stat(source).st_mode & 0o777)
    os.replace(temporary, target)
    return found


def main(arguments):
    if len(arguments) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        found = patch(arguments[1], arguments[2])
    except (Failure, OSError) as failure:
        print(f"patch_cpuid.py: {failure}", file=sys.stderr)
        return failure.status if isinstance(failure, Failure) else 2
    print(f"{arguments[2]}: {found['cpuid']} cpuid, {found['xgetbv']} xgetbv")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
