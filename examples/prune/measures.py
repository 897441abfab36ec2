"""What is known about a model: zeros in the file, bytes packed, speeds, and with a host its perplexity."""

import json
import math
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

import choice
import codes
from container import KNOWN, Container, Fault, parts_of
from text import visible, waiting

NAME = re.compile(r"^blk\.(\d+)\.(.+)\.weight$")
NUMBER = "(-?(?:[0-9.]+|nan|inf))"
PERPLEXITY = re.compile(rf"Final estimate: PPL = {NUMBER}|Mean PPL\(Q\) *: *{NUMBER}")
DIVERGENCE, SAME_TOP = re.compile(rf"Mean +KLD: +{NUMBER}"), re.compile(rf"Same top p: +{NUMBER}")
NO_NUMBER = "Unexpected negative standard deviation"  # all that llama-perplexity says where a sum became NaN
ATTEMPTS = 20  # of llama-perplexity, which loses the end of its log now and then, most often on a busy machine


@dataclass
class Matrix:
    name: str
    type: str
    weights: int
    zeros: int
    file_bytes: int
    negative: int = 0        # of the zeros: -0, a code of its own
    counted: bool = True     # False: of a type that cannot be decoded, whose zeros nobody knows
    share: float = 1.0  # that one generated token reads: less for experts, 0 for tables that are looked up
    packed_bytes: int | None = None  # None: the library does not take it

    @property
    def layer(self):
        match = NAME.match(self.name)
        return int(match[1]) if match else None

    @property
    def kind(self):
        match = NAME.match(self.name)
        return match[2] if match else self.name.removesuffix(".weight")


@dataclass
class Report:
    path: Path
    matrices: list
    other_bytes: int = 0  # norms and the like
    cpu: str = ""
    predicted: dict = field(default_factory=dict)  # {dense, packed: tokens per second}
    measured: dict = field(default_factory=dict)
    disturbed: str = ""  # why the products' speed is not among what was measured

    @property
    def zeros(self):
        return sum(m.zeros for m in self.matrices) / max(1, sum(m.weights for m in self.matrices))

    def notes(self):
        """Sentences about what is odd in the file."""
        negative = sum(m.negative for m in self.matrices)
        if negative:
            yield (f"{self.path.name}: {negative} weights are -0, which the library keeps as values: prune.py "
                   f"{self.path.name} CLEAN.gguf --share 0 --include . turns them into zeros and changes nothing else")
        unknown = [m for m in self.matrices if not m.counted]
        if unknown:
            kinds = ", ".join(dict.fromkeys(m.type for m in unknown))
            yield (f"{self.path.name}: the zeros of {len(unknown)} of {len(self.matrices)} matrices are not counted: "
                   f"nobody here can decode {kinds} ({unknown[0].name})")

    def bytes_per_token(self, packed):
        """Every matrix is read once, of experts those chosen; of the embedding one row, unless it is the output
        matrix too."""
        return self.other_bytes + round(sum(m.share * (m.packed_bytes if packed and m.packed_bytes else m.file_bytes)
                                            for m in self.matrices))


def count_zeros(path):
    """Report with what the files of the model alone say. One tensor in memory at a time."""
    parts = parts_of(Container(path))
    report = Report(Path(path), [])
    has_output = any(tensor.name == "output.weight" for part in parts for tensor in part.tensors)
    found = [(part, tensor) for part in parts for tensor in part.tensors]
    for container, tensor in tqdm(found, desc=f"counting zeros of {visible(Path(path).name)}", unit="tensor", delay=1,
                                  leave=False, disable=not sys.stderr.isatty()):
        if len(tensor.shape) < 2 or tensor.weights == 0:
            report.other_bytes += tensor.n_bytes
            continue
        report.matrices.append(Matrix(tensor.name, tensor.type_name, tensor.weights, *zeros_of(container, tensor),
                                      share=read_share(parts[0], tensor, has_output)))
    return report


def zeros_of(container, tensor):
    """(zeros, bytes in the file, how many of the zeros are -0, whether they could be counted)"""
    if int(tensor.type) not in KNOWN:  # its bytes may not even divide into rows
        return 0, tensor.n_bytes, 0, False
    try:
        matrix = choice.Matrix(container.read(tensor), tensor, None)
        zeros = sum(int((codes.decode(matrix.raw[rows], matrix.kind) == 0).sum()) for rows in matrix.chunks)
    except NotImplementedError:
        return 0, tensor.n_bytes, 0, False
    return zeros, tensor.n_bytes, codes.negative_zeros(matrix.raw, matrix.kind), True


def read_share(model, tensor, has_output):
    """Of the tensor that one token reads: without the library at hand, which has the whole rule (pack())."""
    if tensor.name == "token_embd.weight":
        return 0.0 if has_output else 1.0
    if tensor.name in ("position_embd.weight", "token_types.weight", "per_layer_token_embd.weight"):
        return 0.0
    if "exps." not in tensor.name or len(tensor.shape) < 3:
        return 1.0
    architecture = model.value("general.architecture", "")
    used, count = (model.value(f"{architecture}.{key}", 0) for key in ("expert_used_count", "expert_count"))
    return used / count if 0 < used <= count else 1.0


def call(command, only_stdout=False, **variables):
    """What a program prints. Variables that would change what it does are not passed on."""
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(("SPARAMX_", "GGML_", "LD_PRELOAD"))}
    command = [str(part) for part in command]
    try:
        result = subprocess.run(command, env={**env, **{name: str(value) for name, value in variables.items()}},
                                capture_output=True, text=True, errors="backslashreplace")
    except OSError as error:
        raise Fault(f"{command[0]} cannot be run: {error.strerror}") from None
    if result.returncode != 0:
        last = (result.stderr or result.stdout).strip().splitlines()[-1:]
        raise Fault(f"{' '.join(command)} ended with status {result.returncode}: {' '.join(last)}")
    return result.stdout if only_stdout else result.stdout + result.stderr


def pack(report, build):
    """Sizes and what a token reads from sparamx-explain, which knows what engines give to the library; speed from
    sparamx-run, unless that says that other programs disturbed it."""
    told = json.loads(call([build / "examples/sparamx-explain", "--json", report.path], only_stdout=True))
    found = {tensor["tensor"]: tensor for tensor in told["tensors"]}
    for matrix in report.matrices:
        tensor = found.get(matrix.name)
        if tensor:
            matrix.share, matrix.packed_bytes = tensor["read_share"], tensor["bytes"] if tensor["taken"] else None
    report.cpu = told["machine"]["cpu"]
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "run.json"
        with waiting(f"multiplying {report.path.name}"):
            call([build / "examples/sparamx-run", "--amx", "--m", 1, "--json", result, report.path])
        run = json.loads(result.read_text())
    totals = run["totals"]
    if totals["disturbed"]:
        report.disturbed = (f"the speed of the products is not shown: while it was measured other programs used "
                            f"{totals['other_cpus']:.2f} CPUs and repeated products differed by "
                            f"{totals['spread']:.0%}; measure again on a quiet machine")
        return
    product = totals["products"][0]
    report.measured = {"products, dense": product["dense_tokens_per_s"],
                       "products, packed": product["packed_tokens_per_s"]}


def read_bandwidth(build):
    """Bytes per second that all threads together only read."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "bench.json"
        call([build / "examples/sparamx-bench", "--type", "bf16", "--form", "dense", "--sparsity", 0, "--m", 1,
              "--shape",
              "4096x4096", "--repeat", 3, "--json", result])
        return json.loads(result.read_text())["machine"]["read_gbps"] * 1e9


def predict(report, bandwidth):
    for name, packed in (("dense", False), ("packed", True)):
        report.predicted[name] = bandwidth / report.bytes_per_token(packed)


@dataclass(frozen=True)
class Host:
    """A llama.cpp with the plugin built for it."""
    bin: Path
    plugin: Path
    library: Path
    threads: int

    def timed(self, yes):
        """The same host; without the plugin where its speed would say nothing."""
        return self if yes else replace(self, plugin=None)

    def speed(self, model, with_plugin):
        """Tokens per second of generation."""
        with_it = {"GGML_BACKEND_PATH": self.plugin, "SPARAMX_LIB": self.library} if with_plugin else {}
        out = call([self.bin / "llama-bench", "-m", model, "-p", 0, "-n", 64, "-t", self.threads, "-r", 3, "-o",
                    "json"], **with_it)
        return json.loads(out[out.index("["):out.rindex("]") + 1])[0]["avg_ts"]

    def perplexity(self, *arguments):
        """(perplexity, all that it says); with --kl-divergence that has the divergence too."""
        wanted = [PERPLEXITY, *([DIVERGENCE, SAME_TOP] if "--kl-divergence" in arguments else [])]
        for _ in range(ATTEMPTS):
            with waiting(f"perplexity of {Path(arguments[1]).name}"):
                out = call([self.bin / "llama-perplexity", "-t", self.threads, *arguments])
            found = [pattern.search(out) for pattern in wanted]
            values = [float(match[1] or match[match.lastindex]) for match in found if match]
            if NO_NUMBER in out or not all(map(math.isfinite, values)):
                raise Fault(f"llama-perplexity finds that the perplexity of {arguments[1]}, or its distance from the "
                            "dense model, is no number: look for weights that are NaN or infinite, which prune.py "
                            "names, and run llama-perplexity with this model alone")
            if all(found):
                return values[0], out
        raise Fault(f"llama-perplexity says nothing about {arguments[1]}")


def layers_and_kinds(report):
    """(layers, kinds, zeros[kind][layer]) of the matrices inside layers; NaN where there is none."""
    inside = [m for m in report.matrices if m.layer is not None]
    layers = sorted({m.layer for m in inside})
    kinds = list(dict.fromkeys(m.kind for m in inside))
    zeros = np.full((len(kinds), len(layers)), np.nan)
    for m in inside:
        zeros[kinds.index(m.kind), layers.index(m.layer)] = m.zeros / m.weights
    return layers, kinds, zeros
