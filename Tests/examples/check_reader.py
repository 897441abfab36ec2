#!/usr/bin/env python3
"""check_reader.py BINDIR OUTDIR - the verdicts of sparamx-explain and sparamx-run on the files of gguf_corpus.py,
which are ggml's: compared with ggml itself where Tests/hosts/build_host.py has built it. Models in several files,
too.
"""
import json
import pathlib
import struct
import subprocess
import sys
import time

from checks import check, end
from gguf_corpus import ARCHITECTURE, U16, corpus, file, key

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "hosts"))
SECONDS = 20


def run(program, *arguments):
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=SECONDS * 6)


def verdict(result, what):
    """True for a file that is read. Everything else must end with one sentence."""
    if result.returncode == 2 and "cannot be multiplied" not in result.stderr:
        check(len(result.stderr.splitlines()) == 1 and result.stderr.startswith("sparamx-"),
              f"{what}: no sentence: {result.stderr!r}")
    else:
        check(result.returncode == 0, f"{what}: status {result.returncode}: {result.stderr!r}")
    return result.returncode == 0


def find_host():
    import build_host
    library = build_host.build_folder("linked") / "bin" / "libggml-base.so"
    return library if library.exists() else None


def check_file(explain, run_program, host, name, path, good):
    began = time.monotonic()
    result = run(explain, "--threads", "1", "--json", path)
    check(verdict(result, name) == good, f"{name}: {'refused' if good else 'accepted'}: {result.stderr.strip()}")
    check(time.monotonic() - began < SECONDS, f"{name}: took {time.monotonic() - began:.0f} s")
    if path.stat().st_size < 1 << 30:  # run reads the weights
        other = run(run_program, "--threads", "1", "--repeat", "1", path)
        nothing = "to multiply" in other.stderr or "can be multiplied" in other.stderr
        refused = other.returncode == 2 and not nothing
        check(refused != good, f"{name}: sparamx-run: {other.stderr.strip()}")
    if host is None:
        return
    answer = subprocess.run([sys.executable, HERE / "host_reader.py", host, path], capture_output=True, text=True,
                            timeout=120)
    check((answer.returncode == 0) == good, f"{name}: ggml says otherwise: {answer.stderr.strip()}")
    if answer.returncode == 0 and result.returncode == 0:
        theirs = [size for _, size in json.loads(answer.stdout)]
        ours = [tensor["file_bytes"] for tensor in json.loads(result.stdout)["tensors"]]
        check(theirs == ours, f"{name}: sizes {ours} instead of {theirs}")


def part(i, n, tensors, *more):
    split = (key("split.no", U16, struct.pack("<H", i)), key("split.count", U16, struct.pack("<H", n)))
    return file(tensors, (ARCHITECTURE, *split, *more))


def check_parts(explain, folder):
    """Three files of one model, named by any of them; and what can be wrong with them."""
    names = [folder / f"whole-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    layers = [(("token_embd.weight", (256, 64), 30),), (),
              (("blk.0.ffn_up_exps.weight", (256, 64, 8), 30), ("output.weight", (256, 64), 30))]
    counts = (key("llama.expert_count", 4, struct.pack("<I", 8)),
              key("llama.expert_used_count", 4, struct.pack("<I", 2)))

    def write():
        for i, path in enumerate(names):
            path.write_bytes(part(i, 3, layers[i], *(counts if i == 0 else ())))

    def refuse(what, *words):
        result = run(explain, "--json", names[1])
        check(not verdict(result, what), f"{what}: accepted")
        for word in words:
            check(word in result.stderr, f"{what}: it does not say {word}: {result.stderr}")
        write()

    write()
    seen = []
    for path in names:
        result = run(explain, "--json", path)
        if not verdict(result, path.name):
            check(False, f"{path.name}: {result.stderr}")
            continue
        seen.append(json.loads(result.stdout))
    check(len(seen) == 3 and seen[0]["tensors"] == seen[1]["tensors"] == seen[2]["tensors"],
          "the parts give different answers")
    found = {t["tensor"]: t for t in seen[0]["tensors"]} if seen else {}
    check(len(found) == 3 and not found["token_embd.weight"]["taken"], "the output matrix of another part is not seen")
    check(bool(found) and found["blk.0.ffn_up_exps.weight"]["read_share"] == 0.25,
          "the experts' key of another part is not seen")
    check(bool(seen) and seen[0]["model"]["files"] == 3, "the number of files")
    names[2].unlink()
    refuse("a part is missing", "part 3 of 3", names[2].name)
    names[2].write_bytes(part(1, 3, layers[2]))
    refuse("a part twice", "another model")
    names[2].write_bytes(part(2, 3, layers[0]))
    refuse("a tensor in two parts", "token_embd.weight")
    names[0].write_bytes(part(0, 3, layers[0], key("split.tensors.count", 5, struct.pack("<i", 7))))
    refuse("too few tensors", "3 tensors instead of 7")
    names[2].write_bytes(b"GGUF")
    refuse("a part is damaged", names[2].name)
    names[1].rename(folder / "renamed.gguf")
    result = run(explain, folder / "renamed.gguf")
    check(not verdict(result, "renamed") and "-00002-of-00003.gguf" in result.stderr,
          f"a renamed part: {result.stderr}")
    for path in (*names, folder / "renamed.gguf"):
        path.unlink(missing_ok=True)


def check_unknown_type(explain, folder):
    """A type that is newer than the program: its bytes count as the host's."""
    path = folder / "newer.gguf"
    tensors = (("blk.0.ffn_up.weight", (64, 16), 99), ("blk.1.ffn_up.weight", (256, 64), 30))
    path.write_bytes(file(tensors))
    result = run(explain, "--json", path)
    if verdict(result, "a newer type"):
        data = json.loads(result.stdout)
        check([t["file_bytes"] for t in data["tensors"]] == [64 * 16 * 4, 256 * 64 * 2], f"sizes {data['tensors']}")
        check(data["totals"]["file_bytes"] == 64 * 16 * 4 + 256 * 64 * 2, "the unknown type is not in the totals")
    path.write_bytes(file((("a", (64, 16), 99), ("b", (64,), 0)), offsets=(32, 0)))
    check(not verdict(run(explain, path), "a newer type that runs backwards"), "data that run backwards are accepted")
    path.unlink()


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    programs, folder = pathlib.Path(arguments[0]), pathlib.Path(arguments[1])
    explain, run_program = programs / "sparamx-explain", programs / "sparamx-run"
    host, path, verdicts = find_host(), folder / "corpus.gguf", []
    for name, content, good in corpus():
        if callable(content):
            content(path)
        else:
            path.write_bytes(content)
        check_file(explain, run_program, host, name, path, good)
        verdicts.append(good)
    path.unlink()
    check(len(verdicts) >= 40 and 10 < sum(verdicts) < len(verdicts) - 10,
          f"{len(verdicts)} files, {sum(verdicts)} of them good")
    if host is None:
        print(f"SKIPPED {len(verdicts)}: ggml's own verdicts: Tests/hosts/build_host.py has not built it")
    check_parts(explain, folder)
    check_unknown_type(explain, folder)
    return end(0 if host else len(verdicts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
