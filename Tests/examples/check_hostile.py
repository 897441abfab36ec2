#!/usr/bin/env python3
"""check_hostile.py PROGRAM MODEL OUTDIR - sparamx-explain on damaged copies of a model: cut short at many places, and
with random bytes of its header changed. It must end with status 0 or 2 and a sentence, never by a signal, and what it
prints as JSON must be JSON.
"""
import json
import pathlib
import subprocess
import sys

import gguf
import numpy as np

from checks import check, end

CUTS, CHANGES = 25, 60


def try_file(program, path, name, statuses=(0, 2)):
    problem = ""
    result = subprocess.run([program, "--threads", "1", "--json", path], capture_output=True, text=True, timeout=120)
    if result.returncode not in statuses:
        problem = f"status {result.returncode}"
    elif result.returncode == 0:
        try:
            data = json.loads(result.stdout)
            if len(data["tensors"]) != data["totals"]["tensors"] or not data["sentence"]:
                problem = "a JSON without its parts"
        except ValueError as error:
            problem = f"no JSON: {error}"
    elif not result.stderr.startswith("sparamx-explain: ") or result.stdout:
        problem = f"no sentence: {result.stderr!r} {result.stdout[:40]!r}"
    check(not problem, f"{name}: {problem}")
    return result.returncode


def main(arguments):
    if len(arguments) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    program, model, folder = arguments[0], pathlib.Path(arguments[1]), pathlib.Path(arguments[2])
    data = np.frombuffer(model.read_bytes(), dtype=np.uint8)
    header = min(int(t.data_offset) for t in gguf.GGUFReader(model).tensors)
    rng = np.random.default_rng(17)
    path = folder / "hostile.gguf"

    def write(content):
        path.write_bytes(content.tobytes())

    try_file(program, model, "the model itself", (0,))
    for cut in sorted({0, 3, 23, 24, header - 1, header, len(data) - 1, *map(int, rng.integers(0, header, CUTS))}):
        write(data[:cut])
        try_file(program, path, f"cut to {cut} bytes", (2,))
    refused = 0
    names = data[:header].tobytes().find(b"token_embd.weight")  # the list of tensors begins about here
    for i in range(CHANGES):
        changed = data.copy()
        begin = max(names - 64, 0) if i % 2 else 0
        for at in rng.integers(begin, header, 1 + i % 4):
            changed[at] = rng.choice(np.array([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)], dtype=np.uint8))
        write(changed)
        refused += try_file(program, path, f"change {i}") == 2
    path.unlink()
    # None or all of them: the changes test nothing.
    check(0 < refused < CHANGES, f"{refused} of {CHANGES} changes were refused")
    return end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
