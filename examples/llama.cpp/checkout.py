"""Edits a checkout of a host at places found by their text, all or nothing, and takes the edits out again.

Each addition stands between two marked lines, so that a second run replaces it and --undo finds it. Used by
add-amx-flag.py here and in ../ik_llama.cpp.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

INCLUDE = Path(__file__).resolve().parents[2] / "include"
HEADERS = [INCLUDE / "sparamx.h", INCLUDE / "sparamx-kv.h", *sorted(INCLUDE.glob("sparamx-ggml-*"))]
BEGIN, END = "begin: libsparamx, added by add-amx-flag.py", "end: libsparamx"


def marks(name):
    comment = "#" if Path(name).suffix in (".txt", ".cmake") else "//"
    return f"{comment} {BEGIN}", f"{comment} {END}"


def without_edits(name, text):
    """The text as it was before; None if its marks do not pair up."""
    begin, end = map(re.escape, marks(name))
    clean = re.sub(rf"^{begin}\n(?:(?!{begin}$|{end}$).*\n)*{end}\n", "", text, flags=re.M)
    return None if BEGIN in clean or END in clean else clean


def with_edits(name, text, edits):
    """The text with its additions, and what stands in the way of one (or None).

    An edit is (regular expression for whole lines, "after" or "before" them, addition)."""
    begin, end = marks(name)
    for pattern, side, addition in edits:
        found = list(re.finditer("^" + pattern, text, flags=re.M))
        if len(found) != 1:
            return text, f"{len(found)} places instead of one for: {pattern}"
        at = found[0].end() if side == "after" else found[0].start()
        text = text[:at] + f"{begin}\n{addition}{end}\n" + text[at:]
    return text, None


def stop(message):
    sys.exit(f"{Path(sys.argv[0]).name}: {message}\nNothing was changed.")


def plan(root, host, all_edits, undo):
    """(file, new text) for every file that changes."""
    changes = []
    for name, edits in all_edits.items():
        path = root / name
        if not path.is_file():
            stop(f"{path} is missing: is {root} a checkout of {host}?")
        before = path.read_bytes().decode()
        after = without_edits(name, before)
        if after is None:
            stop(f'the marks in {path} were edited by hand: remove what stands between "{BEGIN}" and "{END}" first.')
        if not undo:
            after, fault = with_edits(name, after, edits)
            if fault:
                stop(f"{path} is not as expected, {fault}")
        if after != before:
            changes.append((path, after))
    return changes


def main(description, host, edits, files):
    """edits: {file of the host: [edit, ...]}; files: {file in the checkout: our file to put there}."""
    parser = argparse.ArgumentParser(description=description.split("\n\n")[0])
    parser.add_argument("checkout", type=Path, metavar="CHECKOUT", help=f"folder with the source of {host}")
    parser.add_argument("--undo", action="store_true", help="take the edits out")
    args = parser.parse_args()

    changes = plan(args.checkout, host, edits, args.undo)
    done = [path for path, _ in changes]
    for path, text in changes:
        path.write_bytes(text.encode())
    for name, source in files.items():
        target = args.checkout / name
        if args.undo:
            if target.is_file():
                target.unlink()
                done.append(target)
            if target.parent.name == "sparamx" and target.parent.is_dir() and not any(target.parent.iterdir()):
                shutil.rmtree(target.parent)
        elif not target.is_file() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(source.read_bytes())
            done.append(target)
    for path in done:
        print(f"{'restored' if args.undo else 'edited'} {path}")
    if not done:
        print("nothing to do")
    elif not args.undo:
        print(f"now build {host} as usual")
