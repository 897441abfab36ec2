#!/usr/bin/env bash
# style.sh - fails for each line of more than 120 characters in the documents and sources of this repository, and shows
# on files made for it that it finds such lines. Last line: "N passed, N failed, N skipped", in files.
set -uo pipefail
cd "$(dirname -- "$(realpath -- "$0")")/.."
exec python3 - <<'EOF'
import pathlib
import re
import subprocess
import sys
import tempfile

LIMIT = 120
SOURCES = re.compile(r"\.(md|swift|c|h|hpp|cpp|def|py|sh|cmake|toml|in|map|modulemap)$"
                     r"|(^|/)CMakeLists\.txt$|^\.ci/run$")
# Kept word by word: the header and the record of the first release.
NEVER = ("Tests/abi-guard/sparamx-0.1.0.h", "Tests/abi-guard/abi-1.txt")
# Sources with longer lines, still to be wrapped; this list only gets shorter.
STILL = ("Sources/", "include/", "Package.swift", "Tests/abi/", "Tests/SparamxTests/", "Tests/hosts/", "Tests/mutants/",
         "examples/llama.cpp/", "examples/ik_llama.cpp/")


def files(root):
    """What git knows or would add: nothing that a build has left."""
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z", "-co", "--exclude-standard"],
                            capture_output=True, text=True, check=True)
    return sorted(set(listed.stdout.split("\0")) - {""})


def check(root):
    """(files looked at, complaints)"""
    looked, complaints = 0, []
    for name in files(root):
        path = root / name
        exempt = name in NEVER or name.startswith(STILL) and not name.endswith(".md")
        if not SOURCES.search(name) or exempt or path.is_symlink() or not path.is_file():
            continue
        looked += 1
        long = [(n, len(line)) for n, line in enumerate(path.read_text().splitlines(), 1) if len(line) > LIMIT]
        if long:
            complaints.append(", ".join(f"{name}:{n} has {length} characters" for n, length in long))
    return looked, complaints


def finds_long_lines():
    """A line that is too long in one file of each kind, and one that is as long as may be, of 2 bytes a character."""
    names = ["README.md", "a/b.swift", "a.c", "a.h", "a.hpp", "a.cpp", "a.def", "a.py", "a.sh", "a.cmake", "a.toml",
             "x/CMakeLists.txt", "Sources/README.md"]
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        subprocess.run(["git", "init", "-q", root], check=True)
        for name in [*names, *NEVER, "good.md", "data.gguf"]:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("ä" * LIMIT + "\n" + ("" if name == "good.md" else "ä" * (LIMIT + 1)))
        looked, complaints = check(root)
    return looked == len(names) + 1 and sorted(c.split(":")[0] for c in complaints) == sorted(names)


if subprocess.run(["git", "rev-parse"], capture_output=True).returncode != 0:
    print("SKIPPED 1: this is no git repository, so its own files are not known\n0 passed, 0 failed, 1 skipped")
    sys.exit(0)
looked, complaints = check(pathlib.Path())
if not finds_long_lines():
    complaints.append("style.sh does not find the long lines that were made for it")
for complaint in complaints:
    print(f"not ok: {complaint}; a line has at most {LIMIT}")
print(f"{looked + 1 - len(complaints)} passed, {len(complaints)} failed, 0 skipped")
sys.exit(len(complaints) > 0)
EOF
