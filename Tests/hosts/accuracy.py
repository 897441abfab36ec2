#!/usr/bin/env python3
"""The trained models of examples/prune/models in a real engine: its own kernels against the library's.

    accuracy.py            measures and prints the table
    accuracy.py --write    also writes it into BENCHMARKS.md, between the marks "accuracy"

Each model is quantized by the host itself. Per row: perplexity on the held-out text with the host's kernels and with
ours; KL divergence between the two; and the host's own noise: its divergence from itself when it computes 8 tokens at a
time instead of all, so that other kernels of its own run.

Run it in the environment of run.sh: build/venv-hosts/bin/python Tests/hosts/accuracy.py
"""

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import gguf

import conftest

sys.path.insert(0, str(conftest.ROOT / "cmake"))
import benchmarks  # noqa: E402  the marks in BENCHMARKS.md

MODELS = conftest.ROOT / "examples" / "prune" / "models"
SHARES = {"dense": "dense", "50": "50%", "70": "70%"}
TYPES = ("BF16", "Q8_0", "Q4_0", "Q4_K_M")
CONTEXT, CHUNKS = 256, 20
ATTEMPTS = 6  # llama-perplexity may lose the end of its log, see linger.c


@dataclass(frozen=True)
class Distance:
    """Of one run's answers from the base's, over the same tokens."""
    ppl: float
    ln_ratio: float  # of the perplexities
    error: float     # the standard error of that
    kld: float
    same_top: float
    log: str


@dataclass(frozen=True)
class Row:
    share: str
    type: str
    base_ppl: float
    ours: Distance
    noise: Distance


def held_out():
    return MODELS / "held-out.txt"


def quantized(host, share, kind, folder):
    """The model in this type; all matrices of BF16 files are BF16 already."""
    dense = MODELS / f"trained-{share}.gguf"
    if kind == "BF16":
        return dense
    path = Path(folder) / f"trained-{share}-{kind}.gguf"
    if not path.exists():
        host.must_run("llama-quantize", dense, path, kind, 2, plugin=False)
    return path


def ours_mib(path):
    """What the host must report for our buffer if every matrix is in it. The embedding is there once, as the output."""
    tensors = gguf.GGUFReader(path).tensors
    assert "output.weight" not in [t.name for t in tensors]
    return sum(-(-int(t.n_bytes) // 4096) * 4096 for t in tensors if "_norm" not in t.name) / 2**20


def perplexity(host, path, *more, **options):
    for _ in range(ATTEMPTS):
        result = host.must_run("llama-perplexity", "-m", path, "-f", held_out(), "-c", CONTEXT, "--chunks", CHUNKS,
                               "-t", 1, *more, **options)
        log = result.stdout + result.stderr
        if re.search(r"Final estimate: PPL|Same top p: +[0-9.]", log):
            return log
    raise AssertionError("llama-perplexity never printed its result: " + log[-2000:])


def distance(log):
    def number(pattern, group=1):
        return float(re.search(pattern, log)[group])
    ratio = r"Mean ln\(PPL\(Q\)/PPL\(base\)\) +: +(-?[0-9.]+) ± +-?([0-9.]+|nan)"
    return Distance(number(r"Mean PPL\(Q\) +: +([0-9.]+)"), number(ratio, 1), number(ratio, 2),
                    number(r"Mean +KLD: +(-?[0-9.]+)"), number(r"Same top p: +([0-9.]+)") / 100, log)


def compare(host, path, base):
    """(perplexity of the host, distance of ours, distance of the host from itself); base: a file for its logits."""
    log = perplexity(host, path, "--save-all-logits", base, plugin=False)
    against = ("--kl-divergence", "--kl-divergence-base", base)
    ours = distance(perplexity(host, path, *against, "-v"))
    noise = distance(perplexity(host, path, *against, "-ub", 8, plugin=False))
    return float(re.search(r"Final estimate: PPL = ([0-9.]+)", log)[1]), ours, noise


def measure(host, share, kind, folder):
    path = quantized(host, share, kind, folder)
    return Row(share, kind, *compare(host, path, Path(folder) / "base.kld"))


def taken(log):
    """By our buffer, as the host reports it."""
    sizes = re.findall(r"SPARAMX model buffer size = +([0-9.]+) MiB", log)
    return f"{float(sizes[-1]):.1f} MiB" if sizes and float(sizes[-1]) > 0 else "none"


def table(rows):
    lines = ["| zeros | type | packed | perplexity: host | ours | KL divergence: ours | host | same top token: ours "
             "| host |",
             "|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        ours, noise = row.ours, row.noise
        lines.append(f"| {SHARES[row.share]} | {row.type} | {taken(ours.log)} | {row.base_ppl:.3f} | {ours.ppl:.3f} | "
                     f"{abs(ours.kld):.1e} | {abs(noise.kld):.1e} | {ours.same_top:.1%} | {noise.same_top:.1%} |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table into BENCHMARKS.md")
    args = parser.parse_args()
    host = conftest.Host("linked")
    folder = conftest.WORK / "trained"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for share in SHARES:
        for kind in TYPES:
            rows.append(measure(host, share, kind, folder))
            print(f"{share} {kind}", file=sys.stderr)
    lines = table(rows)
    print("\n".join(lines))
    if args.write:
        benchmarks.PAGE.write_text(benchmarks.replace(benchmarks.PAGE.read_text(), "accuracy", lines))


if __name__ == "__main__":
    main()
