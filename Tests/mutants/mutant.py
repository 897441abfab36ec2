"""What a mutant is, where the list of them is, and by what its result is known."""
import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

ENDINGS = ("killed", "survived", "does not build", "text not found", "no such test", "test not usable", "skipped")
KINDS = ("abi", "swift", "tsan")
SHARED = ["Sources", "include", "cmake", "Package.swift", "Tests/tally.sh", "examples/common"]


@dataclass(frozen=True)
class Mutant:
    id: str
    file: str      # from the top of the tree
    find: str      # there exactly once
    replace: str
    harm: str      # what is wrong then, in a few words
    test: str      # "abi NAME", "swift CLASS/test" or "tsan CLASS/test"
    needs: str = ""     # a flag of /proc/cpuinfo without which the code never runs, unless it is interpreted
    survives: str = ""  # why no test can see it


def load(folder):
    """All mutants, in an order in which those that share builds follow each other."""
    mutants, names = [], set(Mutant.__dataclass_fields__)
    for path in sorted(Path(folder).glob("*.toml")):
        try:
            entries = tomllib.loads(path.read_text())["mutant"]
        except (tomllib.TOMLDecodeError, KeyError) as error:
            raise ValueError(f"{path.name} is not a list of mutants: {error}") from None
        for entry in entries:
            try:
                mutant = Mutant(**entry)
            except TypeError:
                raise ValueError(f"{path.name}: {entry.get('id', 'one without id')} needs and may have: "
                                 f"{', '.join(sorted(names))}") from None
            if not re.fullmatch(r"[a-z0-9-]+", mutant.id) or mutant.id in {m.id for m in mutants}:
                raise ValueError(f"{path.name}: {mutant.id}: an id is of small letters, digits and -, and there once")
            if mutant.find == mutant.replace or not mutant.find:
                raise ValueError(f"{path.name}: {mutant.id} changes nothing")
            if mutant.test.split()[0] not in KINDS or len(mutant.test.split()) != 2:
                raise ValueError(f"{path.name}: {mutant.id}: a test is one of {', '.join(KINDS)} and a name")
            if mutant.needs and mutant.test.split()[0] != "abi":
                raise ValueError(f"{path.name}: {mutant.id}: what needs a flag of the CPU has a test of the kind abi")
            mutants.append(mutant)
    return sorted(mutants, key=lambda m: (m.test.split()[0], m.file.split("/")[1], m.test, m.file))


def holds(root, test):
    """Whether the tree has this test."""
    kind, name = test.split()
    if kind == "abi":
        return (root / "Tests/abi" / f"{name}.c").is_file()
    suite, _, method = name.partition("/")
    path = root / "Tests/SparamxTests" / f"{suite}.swift"
    return path.is_file() and (not method or f"func {method}(" in path.read_text())


_trees = {}


def _parts(test):
    """Files and folders that a test is made of: its own, and what it shares with others."""
    kind, name = test.split()
    if kind == "abi":
        return ["Tests/emulator", f"Tests/abi/{name}.c", "Tests/abi"]
    return ["Tests/emulator", f"Tests/SparamxTests/{name.split('/')[0]}.swift", "Tests/SparamxTests/Support"]


def _tree(root, names):
    """A hash of files and folders, found out once per process. Of Tests/abi: what is no test and no list of tests."""
    key = (root, *names)
    if key not in _trees:
        total = hashlib.sha256()
        for name in names:
            top = root / name
            for path in [top] if top.is_file() else sorted(p for p in top.rglob("*") if p.is_file()):
                if "__pycache__" in path.parts or name == "Tests/abi" and re.search(r"_test\.c$|\.sh$", path.name):
                    continue
                total.update(f"{path.relative_to(root)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
        _trees[key] = total.hexdigest()
    return _trees[key]


def digest(root, test, mutant=None):
    """The key of a result: the mutation, all sources, and the test."""
    parts = [test, _tree(root, (*SHARED, *_parts(test)))]
    if mutant:
        parts += [mutant.file, mutant.find, mutant.replace]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
