#!/usr/bin/env python3
"""Runs the steps of steps.py in turn, each for nine minutes at most, and keeps what each of them said.

A step that is done leaves DIR/NAME.done and is not run again; DIR/NAME.log is what it wrote. A step that takes too long
is stopped; those that can go on where they were (builds) are started again. The last line is "N passed, N failed,
N skipped", in steps.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import steps

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 9 * 60  # seconds of a step


def has_amx():
    try:
        return "amx_tile" in Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False


def run(command, log, environment, limit):
    """The exit status, or None if it took too long. Everything that it started ends with it."""
    with open(log, "ab") as out:
        out.write(f"\n+ {' '.join(map(str, command))}\n".encode())
        out.flush()
        process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=out, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL, env={**os.environ, **environment}, start_new_session=True)
        try:
            return process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def perform(step, out):
    """What went wrong, or an empty string."""
    begin, log = time.monotonic(), out / f"{step.name}.log"
    log.unlink(missing_ok=True)
    try:
        commands = step.commands()
    except steps.Unavailable as reason:
        return str(reason)
    failures = []
    for command in commands:
        status = None
        for _ in range(step.attempts):
            left = LIMIT - (time.monotonic() - begin) if step.attempts == 1 else LIMIT
            status = run(command, log, step.environment, max(1, left))
            if status is not None:
                break
        if status is None:
            return f"stopped after {LIMIT} s, see {log}"
        if status != 0:
            failures.append(f"status {status}: {' '.join(map(str, command))}, see {log}")
    return "; ".join(failures)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "amx", metavar="DIR")
    parser.add_argument("--short", action="store_true",
                        help="each step in its smallest form, without AMX on the emulator; measures nothing")
    parser.add_argument("--prototypes", type=Path, metavar="DIR",
                        help="C programs that are built and run beside the kernels, see README.md")
    parser.add_argument("--list", action="store_true", help="only name the steps")
    parser.add_argument("steps", nargs="*", metavar="STEP", help="run these alone, also if they are done")
    args = parser.parse_args()
    if not (args.short or args.list or has_amx()):
        sys.exit("this machine has no AMX; --short tries the steps all the same")
    args.out = args.out.resolve()
    if args.short:
        args.out /= "short"
    args.out.mkdir(parents=True, exist_ok=True)
    if args.short:  # a test: what passed before says nothing
        for old in args.out.glob("*.done"):
            if not args.steps:
                old.unlink()
    plan = steps.Plan(ROOT, args.out, args.short, has_amx(), args.prototypes).steps()
    known = [step.name for step in plan]
    if args.list:
        print("\n".join(known))
        return 0
    unknown = [name for name in args.steps if name not in known]
    if unknown:
        sys.exit(f"there is no step {', '.join(unknown)}; --list names them")

    passed = failed = skipped = 0
    for number, step in enumerate(plan, 1):
        done = args.out / f"{step.name}.done"
        if args.steps and step.name not in args.steps:
            continue
        if not args.steps and done.exists():
            passed += 1
            continue
        print(f"{number}/{len(plan)} {step.name}: {step.what}", flush=True)
        begin = time.monotonic()
        reason = step.skip or perform(step, args.out)
        seconds = round(time.monotonic() - begin)
        if step.skip:
            skipped += 1
            print(f"SKIPPED 1: {step.name}: {reason}", flush=True)
        elif reason:
            failed += 1
            print(f"FAILED: {step.name} ({seconds} s): {reason}", flush=True)
        else:
            passed += 1
            done.write_text(json.dumps({"seconds": seconds}) + "\n")
            print(f"    done in {seconds} s", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
