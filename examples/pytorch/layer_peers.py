"""One linear layer, by PyTorch, by others and by this library: a part of bench.py.

Each implementation has several copies of the layer that it takes in turn, so that weights come from memory, as in a
model, and not from a cache.
"""

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import measure as models
import sparamx
from machine import RefusedError
from sparamx.weights import prune_

PER_ROUND = 5
"""Calls of each implementation in a round; the first one after another implementation's is not counted."""

LEAST_BYTES = 256 << 20
"""That all copies of a layer take in bfloat16 together: more than a last-level cache."""

Call = Callable[[torch.Tensor], Any]


def stock(layer: nn.Module) -> Call:
    """PyTorch as it is."""
    return layer


def compiled(mode: str) -> Callable[[nn.Module], Call]:
    """torch.compile, with frozen weights."""
    def build(layer: nn.Module) -> Call:
        return models.compiled(mode)(layer)
    return build


def openvino(kind: str) -> Callable[[nn.Module], Call]:
    """OpenVINO: bfloat16, or weights that nncf compresses to int8 or int4."""
    def build(layer: nn.Module) -> Call:
        import openvino
        size = layer.weight.shape[1]
        model = openvino.convert_model(layer.float(), example_input=torch.randn(1, size), input=[-1, size])
        if kind != "bf16":
            import logging

            import nncf
            nncf.set_log_level(logging.ERROR)
            mode = nncf.CompressWeightsMode.INT8_SYM if kind == "int8" else nncf.CompressWeightsMode.INT4_SYM
            more = {} if kind == "int8" else {"group_size": 32, "all_layers": True}
            model = nncf.compress_weights(model, mode=mode, **more)
        ready = openvino.compile_model(model, "CPU", {
            "INFERENCE_PRECISION_HINT": "bf16" if kind == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY"})
        request = ready.create_infer_request()
        return lambda x: request.infer([x.numpy()], share_inputs=True, share_outputs=True)
    return build


def ours(weights: str, form: str, reference: bool, zeros: float) -> Callable[[nn.Module], Call]:
    """The layer of this library."""
    def build(layer: nn.Module) -> Call:
        holder = nn.Sequential(layer)
        prune_(layer.weight.data, zeros)
        if not sparamx.replace_linears(holder, weights, form=form, reference=reference).taken:
            raise RefusedError("the library took no layer: this machine has no AVX-512")
        return holder[0]
    return build


def peers(options: argparse.Namespace) -> dict[str, tuple[Callable[[nn.Module], Call], torch.dtype]]:
    """What takes part: how it is made of a layer in bfloat16, and the type of its activations."""
    half, full = torch.bfloat16, torch.float32
    found: dict[str, tuple[Callable[[nn.Module], Call], torch.dtype]] = {
        "PyTorch bf16": (stock, half), "torch.compile bf16": (compiled(options.compile_mode), half),
        "PyTorch dynamic int8": (lambda layer: models.dynamic_int8(nn.Sequential(layer))[0], full),
        "torchao int8": (lambda layer: models.torchao("int8")(nn.Sequential(layer)), half),
        "torchao int4": (lambda layer: models.torchao("int4")(nn.Sequential(layer)), half)}
    for kind in ("bf16", "int8", "int4"):
        found[f"OpenVINO {kind}"] = (openvino(kind), full)
    for weights in ("bf16", "q8_0", "q4_0"):
        for form in ("dense", "sparse"):
            build = ours(weights, form, options.reference, options.zeros)
            found[f"sparamx {weights} {form}"] = (build, half)
    return {name: how for name, how in found.items()
            if not options.only or any(part in name for part in options.only)}


@torch.no_grad()
def measure(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Median seconds of a call, by implementation and number of tokens; or the reason why there are none."""
    size = options.size
    copies = max(2, -(-LEAST_BYTES // (2 * size * size))) if options.size >= 1024 else 2
    torch.manual_seed(1)
    weight = torch.randn(size, size).to(torch.bfloat16)
    found: dict[str, dict[str, Any]] = {}
    built: dict[str, tuple[list[Call], torch.dtype]] = {}
    for name, (build, dtype) in peers(options).items():
        found[name] = {}
        try:
            calls = []
            for _ in range(copies):
                layer = nn.Linear(size, size, bias=False, dtype=torch.bfloat16)
                layer.weight.data.copy_(weight)
                with contextlib.redirect_stdout(sys.stderr):  # nncf shows its progress
                    calls.append(build(layer.eval().requires_grad_(False)))
            for m in options.tokens:
                calls[0](torch.randn(m, size, dtype=dtype))
            built[name] = calls, dtype
        except Exception as error:
            found[name]["failure"] = (str(error).splitlines() or [type(error).__name__])[0]
    for m in options.tokens:
        seconds: dict[str, list[float]] = {name: [] for name in built}
        for number in range(options.warmup + options.rounds):
            names = list(built)
            for name in names if number % 2 == 0 else reversed(names):
                calls, dtype = built[name]
                x = torch.randn(m, size, dtype=dtype)
                for turn in range(PER_ROUND + 1):
                    call = calls[(number * PER_ROUND + turn) % len(calls)]
                    begun = time.perf_counter()
                    call(x)
                    if number >= options.warmup and turn:
                        seconds[name].append(time.perf_counter() - begun)
        for name, each in seconds.items():
            found[name][str(m)] = statistics.median(each)
    return found
