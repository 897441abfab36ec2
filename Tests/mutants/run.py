#!/usr/bin/env python3
"""Breaks the library in many ways, one at a time, and sees whether the test that is named for each of them fails.

Each mutant of list/*.toml is applied to a copy of the tree, what its test needs is built there, and the test runs. What
has been found out is kept in BUILD/results.json: a run that is cut off goes on where it was, and a mutant runs again
only when it, the sources or its test have changed. Needs Python 3.11 and what Tests/run.sh needs.
"""
import argparse
import json
import os
import queue
import signal
import sys
import tempfile
import threading
from pathlib import Path

from mutant import ENDINGS, digest, holds, load
from workshop import INTERPRETER, RUNNING, Workshop, cpu_has, end

ROOT = Path(__file__).resolve().parents[2]
WANTED = 95  # per cent of those that ran


class Results:
    """What is known, by key; safe from several threads."""

    def __init__(self, path):
        self.path, self.lock, self.known = path, threading.Lock(), {}
        self.read()

    def read(self):
        try:
            self.known |= json.loads(self.path.read_text())
        except (OSError, ValueError):
            pass  # the first run, or one that was cut off while it wrote

    def get(self, key):
        with self.lock:
            return self.known.get(key)

    def put(self, key, value):
        with self.lock:
            self.read()  # another run may have written meanwhile
            self.known[key] = value
            beside = self.path.with_suffix(".new")
            beside.write_text(json.dumps(self.known, indent=1, sort_keys=True) + "\n")
            os.replace(beside, self.path)


class Baselines:
    """Each test without any mutation: it has to pass, and how long it takes says how long a mutant may take."""

    def __init__(self, results):
        self.results, self.lock, self.locks = results, threading.Lock(), {}

    def get(self, test, interpret, workshop):
        with self.lock:
            lock = self.locks.setdefault((test, interpret), threading.Lock())
        with lock:
            key = ("interpreted without " if interpret else "without ") + digest(ROOT, test)
            known = self.results.get(key)
            if known is None:
                known = workshop.run(None, test, limit=1800, interpret=interpret)
                known["test"] = test
                if known["result"] == "survived":
                    self.results.put(key, known)
            return known


def judge(mutant, workshop, baselines):
    """How one mutant ends."""
    if not (ROOT / mutant.file).is_file() or (ROOT / mutant.file).read_text().count(mutant.find) != 1:
        return {"result": "text not found", "why": f"{mutant.file} has not exactly one such place"}
    if not holds(ROOT, mutant.test):
        return {"result": "no such test", "why": f"{mutant.test} is not in Tests"}
    interpret = not cpu_has(mutant.needs)
    before = baselines.get(mutant.test, interpret, workshop)
    if before["result"] != "survived":
        return {"result": "test not usable", "why": f"without a mutation: {before['result']}: {before['why']}"}
    return workshop.run(mutant, mutant.test, limit=60 + 5 * before["seconds"], interpret=interpret)


def work(jobs, place, results, baselines, say):
    workshop = Workshop(ROOT, place)
    while True:
        try:
            mutant = jobs.get_nowait()
        except queue.Empty:
            return
        if isinstance(mutant, tuple):  # a test without any
            baselines.get(*mutant, workshop)
            continue
        key = digest(ROOT, mutant.test, mutant)
        found = judge(mutant, workshop, baselines)
        found["id"] = mutant.id
        if found["result"] in ("killed", "survived", "does not build"):
            results.put(key, found)
        say(mutant, found)


def report(mutants, found):
    """The lines at the end; true if all is as it should be."""
    by = {ending: [m for m in mutants if found.get(m.id, {}).get("result") == ending] for ending in ENDINGS}
    good = True
    for mutant in by["survived"]:
        known = f": {mutant.survives}" if mutant.survives else ""
        print(f"survived: {mutant.id} ({mutant.harm}), {mutant.test}{known}")
    for ending in ("does not build", "text not found", "no such test", "test not usable"):
        for mutant in by[ending]:
            good = False
            print(f"{ending}: {mutant.id}: {found[mutant.id]['why']}")
    for mutant in by["skipped"]:
        print(f"SKIPPED 1: {mutant.id}: {found[mutant.id]['why']}")
    ran = len(by["killed"]) + len(by["survived"])
    share = 100 * len(by["killed"]) / ran if ran else 0
    left = len(mutants) - sum(len(some) for some in by.values())
    print(f"{len(mutants)} mutants: {len(by['killed'])} killed, {len(by['survived'])} survived, "
          f"{len(by['skipped'])} skipped, {left} not run; {share:.1f}% of those that ran were killed")
    return good and left == 0 and share >= WANTED


def stop(number, frame):
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="say what there is and what is known, run nothing")
    parser.add_argument("--only", nargs="+", metavar="ID", default=[], help="these in this order, whatever is known")
    parser.add_argument("--jobs", type=int, default=1, metavar="N",
                        help="so many at a time, each with a tree of its own")
    parser.add_argument("--build", type=Path, default=Path(tempfile.gettempdir()) / "sparamx-mutants", metavar="DIR",
                        help="where trees, builds and results are, outside of this clone (default: %(default)s)")
    options = parser.parse_args()
    build = options.build.resolve()
    if build == ROOT or ROOT in build.parents:
        parser.error(f"{build} is inside this clone: pass --build with a folder outside of it")
    if not 1 <= options.jobs <= 64:
        parser.error("--jobs has to be 1 to 64")
    try:
        mutants = load(Path(__file__).parent / "list")
    except ValueError as error:
        parser.error(str(error))
    unknown = [name for name in options.only if name not in {m.id for m in mutants}]
    if unknown:
        parser.error(f"no mutant is called {' or '.join(unknown)}: --list says what there is")
    if options.only:
        mutants = [next(m for m in mutants if m.id == name) for name in dict.fromkeys(options.only)]
    try:
        build.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"{build} cannot be made: {error.strerror}")

    results, found, todo = Results(build / "results.json"), {}, []
    for mutant in mutants:
        known = results.get(digest(ROOT, mutant.test, mutant))
        if not cpu_has(mutant.needs) and not INTERPRETER.exists():
            found[mutant.id] = {"result": "skipped", "why": f"this CPU has no {mutant.needs}, and there is no Zydis to "
                                                            "interpret it: install libzydis-dev"}
        elif known and (options.list or not options.only):
            found[mutant.id] = known
        else:
            todo.append(mutant)
    if options.list:
        for mutant in mutants:
            ending = found.get(mutant.id, {}).get("result", "not run")
            print(f"{mutant.id:28} {ending:14} {mutant.test:36} {mutant.harm}")
        report(mutants, found)
        return 0

    # Of each kind first all tests without a mutation, which share one build.
    jobs, tests = queue.Queue(), {}
    for mutant in todo:
        tests.setdefault(mutant.test.split()[0], {})[mutant.test, not cpu_has(mutant.needs)] = True
    for mutant in todo:
        for test in tests.pop(mutant.test.split()[0], ()):
            jobs.put(test)
        jobs.put(mutant)

    lock = threading.Lock()

    def say(mutant, ending):
        with lock:
            found[mutant.id] = ending
            print(f"{ending['result']:14} {mutant.id} ({ending.get('seconds', 0):.0f} s): {mutant.test}", flush=True)

    baselines = Baselines(results)
    threads = [threading.Thread(target=work, args=(jobs, build / str(i), results, baselines, say), daemon=True)
               for i in range(min(options.jobs, max(1, jobs.qsize())))]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        for session in list(RUNNING):
            end(session)
        print("cut off: the same command goes on from here", flush=True)
        os._exit(130)  # what the jobs would say now is not true
    return 0 if report(mutants, found) else 1


if __name__ == "__main__":
    sys.exit(main())
