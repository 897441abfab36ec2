"""The machine that figures are of, and its cores. PyTorch is not imported before a function needs the library."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any


class RefusedError(Exception):
    """What the user is told in one sentence."""


BUILD = Path(__file__).resolve().parents[2] / "build"
if (BUILD / "libsparamx.so.0").exists():  # the package beside this file has no library inside
    os.environ.setdefault("SPARAMX_LIBRARY", str(BUILD))

PACKAGES = ("torch", "transformers", "torchao", "openvino", "nncf")


def cores() -> list[int]:
    """The CPUs that this process may use, one of each core first and their siblings behind."""
    first: list[int] = []
    siblings: list[int] = []
    seen: set[str] = set()
    for cpu in sorted(os.sched_getaffinity(0)):
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        key = path.read_text().strip() if path.exists() else str(cpu)
        (siblings if key in seen else first).append(cpu)
        seen.add(key)
    return first + siblings


def pin(count: int) -> None:
    """Keeps this process on the first count cores, with as many threads. Before PyTorch is imported."""
    chosen = cores()[:count]
    os.sched_setaffinity(0, chosen)
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(len(chosen))


def describe() -> dict[str, Any]:
    """What a reader of the figures has to know."""
    from sparamx.library import LEVELS, capability, version
    found = capability()
    memory = next((line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines()
                   if line.startswith("MemTotal")), "0")
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {"cpu": bytes(found.cpu).rstrip(b"\0").decode().strip(), "level": LEVELS[found.isa], "sparamx": version(),
            "cpus": len(os.sched_getaffinity(0)), "memory_gib": round(int(memory) / 2**20, 1),
            "kernel": platform.release(), "python": platform.python_version(), "packages": versions,
            "load": round(os.getloadavg()[0], 2)}


def require_avx512(reference: bool) -> None:
    """Raises RefusedError where figures would say nothing, unless they are wanted all the same."""
    if not reference and not has_avx512():
        raise RefusedError("this machine has no AVX-512, so the library computes in scalar code and figures say "
                           "nothing of its speed: --reference measures all the same")


def has_avx512() -> bool:
    """Whether figures of this machine are worth publishing."""
    from sparamx.library import capability
    return bool(capability().isa > 0)
