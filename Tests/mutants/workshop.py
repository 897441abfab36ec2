"""A copy of the tree in which one mutant after another is built and tested."""
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

RUNNING = set()  # sessions
INTERPRETER = Path("/usr/include/Zydis/Zydis.h")  # with it Tests/emulator runs AVX-512 on CPUs without
PARTS = ["Sources", "include", "cmake", "Tests", "examples/common", "Package.swift", "BENCHMARKS.md"]


def cpu_has(flag):
    if not flag:
        return True
    try:
        line = next(x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("flags"))
    except (OSError, StopIteration):
        return False
    return flag in line.split()


def find_swift():
    homes = [os.environ.get("SWIFT_HOME", "/nonexistent"), "/opt/swift", "/usr/local/swift",
             str(Path.home() / ".local/share/swiftly")]
    places = [f"{home}/{folder}/swift" for home in homes for folder in ("usr/bin", "bin")]
    found = shutil.which("swift") or next((p for p in places if os.access(p, os.X_OK)), None)
    if not found:
        raise SystemExit("swift is not found: install a Swift 6.3 toolchain, then put it on PATH or set SWIFT_HOME")
    return found


def end(session):
    """Kills all of a session: compilers and tests are in process groups of their own."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[3]) == session:
                os.kill(int(stat.parent.name), signal.SIGKILL)
        except (OSError, ValueError, IndexError):
            pass  # it has ended


def mirror(source, target):
    """Makes target like source and touches only what differs, so that builds go on from where they were."""
    wanted = set()
    for path in [source] if source.is_file() else source.rglob("*"):
        to = target / path.relative_to(source) if source.is_dir() else target
        if path.is_symlink() and path.is_dir() and not to.is_symlink():
            to.parent.mkdir(parents=True, exist_ok=True)
            to.symlink_to(os.readlink(path))  # what it leads to is copied where it is
        if "__pycache__" in path.parts or not path.is_file():
            continue
        wanted.add(to)
        if not to.is_file() or to.read_bytes() != path.read_bytes():
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)
    if source.is_dir():
        for old in [p for p in target.rglob("*") if p.is_file() and p not in wanted]:
            old.unlink()


def module(file):
    """Sources/MODULE/..., in whatever folder of it."""
    return Path(file).parts[1]


def ran_something(log):
    """Whether XCTest says that a test ran and was not skipped."""
    counts = re.findall(r"Executed (\d+) tests?, with (?:(\d+) tests? skipped)?", log.read_text(errors="replace"))
    return any(int(ran) > int(skipped or 0) for ran, skipped in counts)


class Workshop:
    def __init__(self, root, place):
        self.root, self.place, self.tree, self.swift = root, place, place / "tree", find_swift()
        for part in PARTS:
            mirror(root / part, self.tree / part)
        self.changed = None  # the file that the last mutant changed
        self.whole = {}        # by kind: all is built without a mutation, but for what is in old_objects
        self.old_objects = {}  # by kind: files whose objects are those of a mutant

    def run(self, mutant, test, limit, interpret):
        """How a test ends with a mutant, or (None) without."""
        if self.changed:
            shutil.copy(self.root / self.changed, self.tree / self.changed)
            self.changed = None
        log = self.place / "logs" / f"{mutant.id if mutant else 'without-' + re.sub('[^A-Za-z0-9_]', '-', test)}.log"
        log.parent.mkdir(exist_ok=True)
        start = time.monotonic()
        with open(log, "w") as out:
            kind, name = test.split()
            # Of the library as it ships, Swift modules contain parts of those that they import.
            in_c = mutant is not None and mutant.file.endswith(".c")
            alone = mutant is not None and (in_c or kind != "abi")
            done = not alone or self.whole.get(kind) or self.build_all(kind, None, out)
            if mutant:
                text = (self.root / mutant.file).read_text()
                (self.tree / mutant.file).write_text(text.replace(mutant.find, mutant.replace))
                self.changed = mutant.file
            if not done or not (self.build_alone if alone else self.build_all)(kind, mutant, out):
                return {"result": "does not build", "why": f"see {log}", "seconds": time.monotonic() - start}
            built = time.monotonic()
            command, environment = self.command(kind, name, limit, interpret)
            status = self.call(command, environment, out, limit + 30)
            if status == 0 and alone and not in_c and self.build_all(kind, mutant, out):
                out.write("it survives where this module alone is compiled\n")
                status = self.call(command, environment, out, limit + 30)
        result = {"seconds": time.monotonic() - built, "build_seconds": built - start}
        if status == 0 and kind != "abi" and not ran_something(log):
            return result | {"result": "skipped", "why": f"{test} does not run on this machine"}
        if status == 0:
            return result | {"result": "survived", "why": f"{test} passes"}
        return result | {"result": "killed", "why": "it hangs" if status is None else f"{test} ends with {status}"}

    def build_all(self, kind, mutant, out):
        self.whole[kind] = False
        if kind == "abi":
            # As in cmake/library.cmake.
            command = [self.swift, "build", "-c", "release", "--disable-local-rpath", "--product", "sparamx",
                       "--package-path", str(self.tree), "--scratch-path", str(self.place / "swift")]
        else:
            command = [self.swift, "build", "--build-tests", *self.swift_options(kind)]
        if self.call(command, {"SPARAMX_ORDINARY_SWIFT": "" if kind == "abi" else "1"}, out, 3600) != 0:
            return False
        self.whole[kind] = mutant is None
        self.old_objects[kind] = set()
        return kind != "abi" or self.take_library()

    def build_alone(self, kind, mutant, out):
        """Compiles the mutant's file or module and links, with the commands of the build, which would compile all that
        imports it. What a mutant before has changed is compiled again too."""
        plan = (self.place / ("swift" if kind == "abi" else f"{kind}-test") / "release.yaml").read_text()
        product = "libsparamx.so" if kind == "abi" else "sparamxPackageTests.xctest"
        commands = re.findall(r'description: "([^"]*)"\n +args: (\[.*\])\n', plan)
        files = {file if file.endswith(".c") else module(file): file
                 for file in [*self.old_objects[kind], mutant.file]}.values()  # of Swift one per module
        compile_commands = [json.loads(args) for file in files for text, args in commands
                            if f'"-c","{self.tree / file}"' in args
                            or file.endswith(".swift") and f"Swift Module '{module(file)}' (" in text]
        link_commands = [json.loads(args) for text, args in commands
                         if text.startswith("Linking ") and text.endswith("/" + product)]
        if len(compile_commands) != len(files) or len(link_commands) != 1:
            out.write("the plan of the build has other commands than expected; everything is built\n")
            return self.build_all(kind, mutant, out)
        self.old_objects[kind] |= {mutant.file}
        if not all(self.call(command, {}, out, 3600) == 0 for command in compile_commands + link_commands):
            return self.build_all(kind, mutant, out)
        self.old_objects[kind] = {mutant.file}
        return kind != "abi" or self.take_library()

    def take_library(self):
        library = self.place / "library"
        library.mkdir(exist_ok=True)
        shutil.copy(self.place / "swift/release/libsparamx.so", library / "libsparamx.so.0")
        for name, target in (("libsparamx.so", "libsparamx.so.0"), ("swift", "../swift")):
            if not (library / name).is_symlink():
                (library / name).symlink_to(target)
        return True

    def swift_options(self, kind):
        return ["-c", "release", "--package-path", str(self.tree), "--scratch-path", str(self.place / f"{kind}-test"),
                *(["--sanitize=thread"] if kind == "tsan" else [])]

    def command(self, kind, name, limit, interpret):
        if kind == "abi":
            script = [str(self.tree / "Tests/abi/run.sh"), str(self.place / "library"), str(self.place / "abi"), name]
            return script, {"ABI_QUICK": "1", "TALLY_LIMIT": str(int(limit)),
                            "SPARAMX_INTERPRET": "1" if interpret else ""}
        return ([self.swift, "test", "--skip-build", *self.swift_options(kind), "--filter", f"SparamxTests.{name}$"
                 if "/" in name else f"SparamxTests.{name}/"], {"SPARAMX_ORDINARY_SWIFT": "1"})

    def call(self, command, environment, out, limit):
        """The exit status, None if it took too long. Nothing that it started stays."""
        unwanted = ("CC", "SPARAMX_ISA", "SPARAMX_INTERPRET", "LD_PRELOAD", "LD_LIBRARY_PATH")
        variables = {k: v for k, v in os.environ.items() if k not in unwanted}
        for key, value in environment.items():
            if value:
                variables[key] = value
            else:
                variables.pop(key, None)
        variables["PATH"] += os.pathsep + str(Path(self.swift).resolve().parent)
        out.write(f"$ {' '.join(command)}\n")
        out.flush()
        process = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                   start_new_session=True, cwd=self.place)
        RUNNING.add(process.pid)
        try:
            return process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            end(process.pid)
            process.wait()
            RUNNING.discard(process.pid)
