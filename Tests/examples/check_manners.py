#!/usr/bin/env python3
"""check_manners.py BINDIR MODEL OUTDIR - the example programs towards terminals, full disks, pipes, models whose
weights prove nothing, and files that are small but ask for much memory. MODEL: any that sparamx-run --amx multiplies.
"""
import json
import os
import pathlib
import resource
import struct
import subprocess
import sys

from checks import check, end
from gguf_corpus import ARCHITECTURE, STRING, file, key, text

ESCAPE = "\x1b[31m\x07"


def run(*command, **options):
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.run([str(part) for part in command], stderr=subprocess.PIPE, text=True, timeout=300, **options)


def is_plain(result):
    return all(c.isprintable() or c == "\n" for c in (result.stdout or "") + result.stderr)


def with_data(content, data):
    """The bytes of the only tensor of a file."""
    return content[:len(content) - len(data)] + data


def check_terminal(programs, folder):
    explain, run_program, bench = programs
    path = folder / "names.gguf"
    named = (key("general.architecture", STRING, text("ll" + ESCAPE)),
             key("general.name", STRING, text("name" + ESCAPE + "\n")))
    path.write_bytes(file((("blk.0.ffn_up" + ESCAPE + ".weight", (64, 32), 30),), named))
    odd = folder / ("odd" + ESCAPE + ".gguf")
    odd.write_bytes(path.read_bytes()[:100])
    for command in ((explain, path), (explain, "--json", path), (run_program, path),
                    (run_program, "--amx", "--m", "1", path),
                    (explain, odd), (run_program, odd), (explain, "--" + ESCAPE, path),
                    (run_program, "--" + ESCAPE, path),
                    (run_program, f"--amx=/no{ESCAPE}.so", path), (explain, "--library", f"/no{ESCAPE}.so", path),
                    (run_program, "--filter", ESCAPE, path), (run_program, "--form", ESCAPE, path),
                    (bench, "--" + ESCAPE),
                    (bench, "--type", ESCAPE), (bench, ESCAPE), (bench, "--json", f"/no/{ESCAPE}", "--list"),
                    (run_program, "--json", f"/no{ESCAPE}/x", "--m", "1", "--repeat", "1", path)):
        result = run(*command)
        check(is_plain(result) and result.returncode >= 0,
              f"{command[0].name} {command[1:]!r}: {result.stdout!r} {result.stderr!r}")
    path.unlink()
    odd.unlink()


def check_full(programs, model):
    explain, run_program, bench = programs
    for command in ((explain, model), (explain, "--json", model), (explain, "--help"), (run_program, "--help"),
                    (run_program, "--repeat", "1", model), (run_program, "--amx", "--m", "1", "--repeat", "1", model),
                    (bench, "--list"), (bench, "--help"), (bench, "--sizes", "--shape", "256x512")):
        with open("/dev/full", "w") as full:
            result = run(*command, stdout=full)
        check(result.returncode != 0 and "stdout" in result.stderr,
              f"{command} on a full disk: {result.returncode} {result.stderr}")


def check_pipe(programs, folder):
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    for program in programs[:2]:
        result = run(program, pipe)
        check(result.returncode == 2 and "not a regular file" in result.stderr,
              f"{program.name} of a pipe: {result.stderr}")
    pipe.unlink()


def check_nonfinite(programs, folder):
    """NaN or infinite weights, in every place of a block that can hold one."""
    path, report = folder / "nan.gguf", folder / "nan.json"
    for name, kind, block, word in (("BF16 NaN", 30, 2, b"\xc0\x7f"), ("BF16 infinity", 30, 2, b"\x80\x7f"),
                                    ("F16 NaN", 1, 2, b"\x01\x7c"), ("Q8_0 scale", 8, 34, b"\x00\x7e")):
        data = bytearray(b"\x01\x3c" * (64 * 64) if block == 2 else (b"\x00\x3c" + b"\x01" * 32) * (64 * 2))
        path.write_bytes(with_data(file((("blk.0.ffn_up.weight", (64, 64), kind),)), bytes(data)))
        sound = run(programs[1], "--amx", "--m", "1", "--repeat", "1", path)
        check(sound.returncode == 0 and "NOT CHECKED" not in sound.stdout, f"{name}, sound: {sound.stdout[-300:]}")
        data[5 * block:5 * block + 2] = word
        path.write_bytes(with_data(file((("blk.0.ffn_up.weight", (64, 64), kind),)), bytes(data)))
        result = run(programs[1], "--amx", "--m", "1", "--repeat", "1", "--json", report, path)
        check(result.returncode == 1 and "NOT CHECKED: 1 of 1" in result.stdout and "All results" not in result.stdout,
              f"{name}: {result.returncode} {result.stdout[-300:]}")
        check(json.loads(report.read_text())["totals"]["nonfinite"] == 1, f"{name}: not in the JSON")
    path.unlink()


def check_sentences(programs, folder):
    explain, run_program = programs[:2]
    path = folder / "sentence.gguf"

    def sentence(content):
        path.write_bytes(content)
        result = run(explain, "--json", path)
        check(result.returncode == 0, result.stderr)
        return json.loads(result.stdout)

    minus = b"".join(struct.pack("<HH", 0x8000, 0x3f80 + i % 7) for i in range(64 * 128))
    found = sentence(with_data(file((("blk.0.ffn_up.weight", (256, 64), 30),)), minus))
    check("--share 0 --include ." in found["sentence"] and "50%" in found["sentence"],
          f"negative zeros: {found['sentence']}")
    check(found["tensors"][0]["negative_zeros"] == 0.5, "negative zeros are not counted")
    for amx in ((), ("--amx",)):
        result = run(run_program, *amx, "--json", folder / "minus.json", path)
        row, = json.loads((folder / "minus.json").read_text())["rows"]
        check(result.returncode == 0 and row["negative_zeros"] == 64 * 128 and "8192 weights are -0" in result.stdout
              and "--share 0 --include ." in result.stdout,
              f"negative zeros, run {amx}: {result.stdout} {result.stderr}")
    found = sentence(file((("blk.0.ffn_up.weight", (3, 3), 30),)))  # much larger as tiles
    check("more slowly" in found["sentence"] and "% more)" in found["sentence"]
          and "-" not in found["sentence"].split("(")[1],
          f"a loss: {found['sentence']}")
    sparse = with_data(file((("blk.0.ffn_up.weight", (256, 64), 30),)), b"\0\0\x80\x3f" * (64 * 128))
    found = sentence(sparse)
    check("dense weights of the same types" in found["sentence"] and "nothing was measured" in found["sentence"],
          f"what is compared: {found['sentence']}")
    check("no tensors" in sentence(file(()))["sentence"], "a file without tensors")
    for more, words in (((), "the file holds no tensors"), (("--filter", "blk"), "the file holds no tensors")):
        result = run(run_program, *more, path)
        check(result.returncode == 2 and words in result.stderr, f"run without tensors: {result.stderr}")
    path.write_bytes(sparse)
    result = run(run_program, "--filter", "nothing", path)
    check(result.returncode == 2 and "'nothing' in its name" in result.stderr, f"run --filter: {result.stderr}")
    check_tied(sentence, explain, path)
    path.unlink()


def check_tied(sentence, explain, path):
    """One matrix for both ends: taken, and a copy stays with the host. Models without an output leave it."""
    tensors = (("token_embd.weight", (256, 64), 30), ("blk.0.attn_k_b.weight", (256, 64), 30),
               ("blk.0.ffn_up.weight", (256, 64), 30))
    for architecture, tied in (("gemma3", True), ("llama", True), ("bert", False), ("bitnet", False)):
        found = sentence(file(tensors, (key("general.architecture", STRING, text(architecture)),)))
        embedding, latent, matrix = found["tensors"]
        check(embedding["taken"] == tied and matrix["taken"] and not latent["taken"], f"{architecture}: what is taken")
        check(embedding["host_copy_bytes"] == (embedding["file_bytes"] if tied else 0),
              f"{architecture}: the host's copy")
        check(embedding["read_share"] == (0 if architecture == "bert" else 1), f"{architecture}: what is read")
        check(("is the output matrix too" in run(explain, path).stdout) == tied, f"{architecture}: it does not say so")
    found = sentence(file((*tensors, ("output.weight", (256, 64), 30))))
    check([t["taken"] for t in found["tensors"]] == [False, False, True, True], "with an output matrix of its own")


def peak_mib(*command):
    """In a process of its own: the maximum of the children is over all of them."""
    code = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
    return int(run(sys.executable, "-c", code, *command).stdout) / 1024


def check_memory(programs, folder):
    """1 MB of one column of BF16, and of rows of two: 500,000 outputs for each token."""
    path = folder / "column.gguf"
    for columns in (1, 2, 33):
        path.write_bytes(file((("blk.0.ffn_up.weight", (columns, (1 << 19) // columns), 30),)))
        for command in ((programs[0], path), (programs[1], "--amx", "--repeat", "1", path),
                        (programs[1], "--repeat", "1", path)):
            peak = peak_mib(*command)
            check(peak < 600, f"{command[0].name}: {columns} columns take {peak:.0f} MiB")
        # tiles of 32 columns: not worth 32 times the bytes
        result = run(programs[1], "--amx", "--m", "1", "--repeat", "1", path)
        refused = result.returncode == 2 and "can be multiplied" in result.stderr
        check(refused == (columns < 8), f"{columns} columns: status {result.returncode}: {result.stderr}")
    path.unlink()


def main(arguments):
    if len(arguments) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    folder = pathlib.Path(arguments[2])
    programs = [pathlib.Path(arguments[0]) / f"sparamx-{name}" for name in ("explain", "run", "bench")]
    check_terminal(programs, folder)
    check_full(programs, arguments[1])
    check_pipe(programs, folder)
    check_nonfinite(programs, folder)
    check_sentences(programs, folder)
    check_memory(programs, folder)
    return end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
