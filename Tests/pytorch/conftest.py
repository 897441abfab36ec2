"""The package from the sources, with the library that was built."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("SPARAMX_BUILD", ROOT / "build"))
os.environ.setdefault("SPARAMX_LIBRARY", str(BUILD))
sys.path.insert(0, str(ROOT / "examples" / "pytorch"))
for name in ("libsparamx.so.0", "libsparamx-openmp.so"):
    if not (BUILD / name).exists():
        sys.exit(f"{BUILD / name} is missing: build first, cmake --build build")

import pytest  # noqa: E402
import torch  # noqa: E402


@pytest.fixture(autouse=True)
def same_numbers():
    """Every test begins with the same random numbers and number of threads."""
    threads = torch.get_num_threads()
    torch.manual_seed(1)
    yield
    torch.set_num_threads(threads)


def pruned(n, k, dtype, share=0.5):
    """Random weights of which a share is zero."""
    return (torch.randn(n, k) * (torch.rand(n, k) >= share)).to(dtype)
