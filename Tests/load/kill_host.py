#!/usr/bin/env python3
"""kill_host.py LIBDIR PROGRAM TIMES - kills a host at random moments and looks for what it leaves behind.

Runs in a mount namespace of its own (run.sh calls unshare) with empty file systems at /tmp, /var/tmp, /dev/shm and
/run, so that whatever is there afterwards is the host's. The last line is "N passed, N failed, N skipped".
"""
import ctypes
import os
import random
import shutil
import signal
import subprocess
import sys
import time

PLACES = ["/tmp", "/var/tmp", "/dev/shm", "/run"]
MARK = "SPARAMX_KILLED_HOST"


def mount(path):
    """Without mount(8), which would leave notes in /run."""
    os.makedirs(path, exist_ok=True)
    if ctypes.CDLL(None, use_errno=True).mount(b"none", path.encode(), b"tmpfs", 0, None) != 0:
        raise OSError(ctypes.get_errno(), path)


def files(places):
    found = []
    for place in places:
        for folder, folders, names in os.walk(place):
            found += [os.path.join(folder, name) for name in folders + names]
    return found


def processes(mark):
    """Processes whose environment has the mark, threads and children of a dead host among them."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as environ:
                if f"{MARK}={mark}".encode() in environ.read().split(b"\0"):
                    found.append(int(name))
        except OSError:
            pass  # ended meanwhile, or a zombie, or somebody else's
    return found


def system_v():
    """Shared memory, semaphores and queues of System V, which outlive their makers: their ids."""
    ids = []
    for name in ("shm", "sem", "msg"):
        with open(f"/proc/sysvipc/{name}") as table:
            ids += [(name, line.split()[1]) for line in table.readlines()[1:]]
    return ids


def main():
    library, program, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
    mount("/mnt")  # the host itself may lie in one of the places
    host = shutil.copy(program, "/mnt/host")
    shutil.copy(os.path.realpath(os.path.join(library, "libsparamx.so.0")), "/mnt/libsparamx.so.0")
    for place in PLACES:
        mount(place)
    mount("/mnt/cwd")
    places = PLACES + ["/mnt/cwd"]

    # The search finds what is there.
    open("/dev/shm/planted", "w").close()
    passed, failed = (1, 0) if files(places) == ["/dev/shm/planted"] else (0, 1)
    if failed:
        print("not ok: a planted file is not found")
    os.unlink("/dev/shm/planted")

    random.seed(1)
    working = 0
    before = system_v()
    for i in range(times):
        environment = dict(os.environ, LD_LIBRARY_PATH="/mnt", TMPDIR="/tmp", **{MARK: str(i)})
        child = subprocess.Popen([host, "10", "16", str(i + 1)], cwd="/mnt/cwd", env=environment,
                                 start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        time.sleep(random.random() ** 2 * 2)  # more often at the start, while the library is loaded and packs
        alive = child.poll() is None
        child.send_signal(signal.SIGKILL)
        said = child.communicate()[0].decode(errors="replace")
        working += "threads start" in said
        left = files(places) + processes(str(i)) + [x for x in system_v() if x not in before]
        if alive and child.returncode == -signal.SIGKILL and not left:
            passed += 1
        else:
            failed += 1
            print(f"not ok: kill {i}: status {child.returncode}, left behind: {left[:5]}; {said[-200:]}")
    print(f"{times} hosts killed, {working} of them with all threads at work")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
