#!/usr/bin/env python3
"""check_pack.py BUILDDIR OUTDIR TYPE... - sparamx-pack on the models of run.sh: what is in the packed file is every
matrix that an engine gives to the library, and reads back as the model's bytes; what goes wrong leaves nothing behind.
Last line: "N passed, N failed, N skipped".
"""
import ctypes
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

import gguf
from checks import check, end


class FileTensor(ctypes.Structure):
    """sparamx_file_tensor"""
    _fields_ = [("size", ctypes.c_uint32), ("type", ctypes.c_int32), ("form", ctypes.c_int32),
                ("name_size", ctypes.c_int32), ("ne", ctypes.c_int64 * 4), ("packed_bytes", ctypes.c_uint64),
                ("background", ctypes.c_uint64), ("offset", ctypes.c_uint64), ("name", ctypes.c_char_p)]


def run(*command, **more):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, **more)


def left_behind(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".sparamx-")]


def read_model(model, kind):
    """{name: tensor}, None for types that are newer than the gguf package."""
    try:
        return {tensor.name: tensor for tensor in gguf.GGUFReader(model).tensors}
    except ValueError:
        print(f"SKIPPED 1: the bytes of {kind}: the gguf package does not know the type")
        return None


def check_contents(lib, packed, model, kind):
    """Every two-dimensional matrix of the model that is in the file, byte for byte. Returns the names in it."""
    tensors = read_model(model, kind)
    file, linear = ctypes.c_void_p(), ctypes.c_void_p()
    check(lib.sparamx_file_open(os.fsencode(packed), ctypes.byref(file)) == 0, f"{kind}: the packed file opens")
    count = lib.sparamx_file_count(file)
    names = set()
    for index in range(count):
        about = FileTensor(size=ctypes.sizeof(FileTensor))
        lib.sparamx_file_info(file, index, ctypes.byref(about))
        name = about.name.decode()
        names.add(name)
        if tensors is None or list(about.ne)[2:] != [1, 1]:
            continue
        source = tensors[name]
        check(lib.sparamx_linear_load(file, index, None, ctypes.byref(linear)) == 0, f"{kind}: {name} loads")
        out = ctypes.create_string_buffer(source.n_bytes)
        check(lib.sparamx_linear_read(linear, ctypes.c_int64(0), ctypes.c_int64(about.ne[1]), out) == 0 and
              out.raw == source.data.tobytes(), f"{kind}: {name} reads back as the model has it")
        lib.sparamx_linear_destroy(linear)
    lib.sparamx_file_close(file)
    return names, tensors is None


def check_models(lib, pack, out, kinds):
    """Returns how many could not be read."""
    unread = 0
    for kind in kinds:
        model, packed = out / f"{kind}.gguf", out / f"{kind}.sparamx"
        packed.unlink(missing_ok=True)
        result = run(pack, model, packed)
        if "no weight matrix" in result.stderr:
            check(result.returncode == 2 and not packed.exists(), f"{kind}: nothing is written")
            continue
        if not check(result.returncode == 0, f"{kind}: {result.stderr}"):
            continue
        names, unknown = check_contents(lib, packed, model, kind)
        unread += unknown
        feed_forward = "ffn_down_exps" if kind.startswith("experts") else "ffn_down"
        check(all(f"blk.0.{name}.weight" in names for name in ("attn_q", feed_forward)) and
              "blk.0.attn_norm.weight" not in names and result.stdout.startswith(f"{len(names)} of "),
              f"{kind}: {sorted(names)}: {result.stdout}")
        listed = run(pack, "--list", "--verify", packed)
        check(listed.returncode == 0 and "every checksum is right" in listed.stdout and
              all(name in listed.stdout for name in names), f"{kind}: --list: {listed.stdout}{listed.stderr}")
    return unread


def check_forms(pack, out):
    for form in ("dense", "sparse"):
        packed = out / "form.sparamx"
        result = run(pack, "--form", form, "--threads", "1", out / "bf16.gguf", packed)
        listed = run(pack, "--list", packed).stdout.splitlines()[2:]
        check(result.returncode == 0 and listed and all(f" {form} " in line for line in listed), f"--form {form}")


def check_damage(pack, out):
    packed, bad = out / "bf16.sparamx", out / "bad.sparamx"
    whole = packed.read_bytes()
    bad.write_bytes(whole[:4096 + 500] + bytes([whole[4096 + 500] ^ 4]) + whole[4096 + 501:])
    result = run(pack, "--list", "--verify", bad)
    check(result.returncode == 4 and "every checksum" not in result.stdout and result.stderr,
          f"a code: {result.stderr}")
    bad.write_bytes(whole[:-9])
    check(run(pack, "--list", bad).returncode == 4, "a file that was cut off")
    check(run(pack, "--list", out / "bf16.gguf").returncode == 2, "a file that is no packed one")


def check_arguments(pack, out):
    model, packed = out / "bf16.gguf", out / "arguments.sparamx"
    for arguments in ((), (model,), (model, packed, packed), ("--form", "thin", model, packed),
                      ("--threads", "0", model, packed), ("--threads", "x", model, packed),
                      ("--nonsense", model, packed), ("--list",), ("--verify", packed),
                      ("--list", out / "none.sparamx"), (out / "none.gguf", packed),
                      (model, out / "none" / "x.sparamx"), (model, out)):
        result = run(pack, *arguments)
        check(result.returncode == 2 and result.stderr.startswith("sparamx-pack: ") and not result.stdout,
              f"{arguments}: {result.returncode} {result.stderr}")
    check(run(pack, "--library", "/none.so", model, packed).returncode == 3, "no library")
    check(not packed.exists() and not left_behind(out), "nothing is written")


def check_failures(pack, out):
    """A disk that is full and a program that is killed leave what was there before."""
    model, packed = out / "bf16.gguf", out / "kept.sparamx"
    packed.write_bytes(b"before")

    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    result = run(pack, model, packed, preexec_fn=small)
    check(result.returncode == 2 and "File too large" in result.stderr, f"a full disk: {result.stderr}")
    for delay in (0.0, 0.01, 0.03):
        process = subprocess.Popen([pack, model, packed], stdout=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = packed.read_bytes()
        check(kept == b"before" or run(pack, "--list", "--verify", packed).returncode == 0, "killed")
        check(not left_behind(out), "nothing is left behind")
    check(run(pack, model, packed).returncode == 0 and packed.read_bytes() != b"before", "and then it is replaced")


def main():
    build, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    pack, lib = build / "examples" / "sparamx-pack", ctypes.CDLL(str(build / "libsparamx.so"))
    unread = check_models(lib, pack, out, [*sys.argv[3:], "experts-bf16"])
    check_forms(pack, out)
    check_damage(pack, out)
    check_arguments(pack, out)
    check_failures(pack, out)
    help_text = run(pack, "--help").stdout
    check("--verify" in help_text and all(len(line) <= 120 for line in help_text.splitlines()), "--help")
    return end(unread)


if __name__ == "__main__":
    sys.exit(main())
