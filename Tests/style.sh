#!/usr/bin/env bash
# style.sh - fails for each line of more than 120 characters in the documents and sources of this repository, for each
# link of a document that leads nowhere, and for each room that ARCHITECTURE.md does not name or that has no README.md.
# Shows on files made for it that it finds such things. Last line: "N passed, N failed, N skipped", in files.
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
# Kept word by word: the header and the record of the first release, and a line of ik_llama.cpp that its edits look for.
NEVER = ("Tests/abi-guard/sparamx-0.1.0.h", "Tests/abi-guard/abi-1.txt",
         "Tests/hosts/ik_mock/src/llama-load-tensors.cpp")


def files(root):
    """What git knows or would add: nothing that a build has left."""
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z", "-co", "--exclude-standard"],
                            capture_output=True, text=True, check=True)
    return sorted(name for name in set(listed.stdout.split("\0")) - {""} if (root / name).exists())


def anchor(heading):
    """As GitHub and most others make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def dead_links(root, name, text):
    """Links to files that are not there, or to headings that their file does not have."""
    text = re.sub(r"(?ms)^```.*?^```", "", text)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        place, _, heading = link.partition("#")
        target = (root / name).parent / place if place else root / name
        if re.match(r"[a-z]+:", link):
            continue
        if not target.exists():
            yield link
        elif heading and heading not in map(anchor, re.findall(r"(?m)^#+ (.*)$", target.read_text())):
            yield link


def rooms(root, names):
    """What is wrong with the signs of the folders in Sources."""
    page = (root / "ARCHITECTURE.md").read_text() if "ARCHITECTURE.md" in names else ""
    for room in sorted({name.split("/")[1] for name in names if re.match("Sources/.*/", name)}):
        if f"Sources/{room}/README.md" not in names:
            yield f"Sources/{room} has no README.md"
        if f"`Sources/{room}`" not in page:
            yield f"ARCHITECTURE.md does not name `Sources/{room}`"


def check(root):
    """(files looked at, complaints)"""
    names = files(root)
    looked, complaints = 0, list(rooms(root, names))
    for name in names:
        path = root / name
        if name.endswith(".md") and path.is_file():
            dead = dead_links(root, name, path.read_text())
            complaints += [f"{name}: the link {link} leads nowhere" for link in dead]
        if not SOURCES.search(name) or name in NEVER or path.is_symlink() or not path.is_file():
            continue
        looked += 1
        long = [(n, len(line)) for n, line in enumerate(path.read_text().splitlines(), 1) if len(line) > LIMIT]
        if long:
            complaints.append(f"{name}: " + ", ".join(f"line {n} has {length} characters" for n, length in long)
                              + f"; {LIMIT} is the most")
    return looked, complaints


LINKS = """# The top
[good](good.md) [good](#the-top) [good](a/b.swift) [good](https://example.org/x)
[bad](none.md) [bad](good.md#none) [bad](#none) `Sources/Sign`
"""


def finds_everything():
    """A line that is too long in one file of each kind, and one that is as long as may be, of 2 bytes a character;
    links; a room without a README.md that is named, and one with it that is not."""
    names = ["README.md", "a/b.swift", "a.c", "a.h", "a.hpp", "a.cpp", "a.def", "a.py", "a.sh", "a.cmake", "a.toml",
             "x/CMakeLists.txt", "Sources/README.md"]
    wrong = [*names, *["ARCHITECTURE.md"] * 3, "Sources/Sign has no README.md",
             "ARCHITECTURE.md does not name `Sources/Other`"]
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        subprocess.run(["git", "init", "-q", root], check=True)
        for name in [*names, *NEVER, "good.md", "data.gguf"]:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("ä" * LIMIT + "\n" + ("" if name == "good.md" else "ä" * (LIMIT + 1)))
        for name, text in (("ARCHITECTURE.md", LINKS), ("Sources/Sign/x.swift", ""), ("Sources/Other/README.md", "")):
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(text)
        looked, complaints = check(root)
    return looked == len(names) + 4 and sorted(c.split(":")[0] for c in complaints) == sorted(wrong)


if subprocess.run(["git", "rev-parse"], capture_output=True).returncode != 0:
    print("SKIPPED 1: this is no git repository, so its own files are not known\n0 passed, 0 failed, 1 skipped")
    sys.exit(0)
looked, complaints = check(pathlib.Path())
if not finds_everything():
    complaints.append("style.sh does not find what is wrong with the files that were made for it")
for complaint in complaints:
    print(f"not ok: {complaint}")
print(f"{max(0, looked + 1 - len(complaints))} passed, {len(complaints)} failed, 0 skipped")
sys.exit(len(complaints) > 0)
EOF
