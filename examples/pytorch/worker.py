"""Measures configurations in a process of its own, pinned to its cores: a part of experiments.py.

Reads a request from standard input and writes one JSON object a line to standard output: {"tick": 1} after each
generation, {"begin": i} and {"done": i, "results": [...]} for each configuration.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import machine


def main() -> None:
    """Serves one request."""
    request = json.load(sys.stdin)
    machine.pin(request["cores"])
    out, sys.stdout = sys.stdout, sys.stderr  # what others print is no answer

    def answer(**fields: Any) -> None:
        print(json.dumps(fields), file=out, flush=True)

    import measure
    with measure.quiet():
        for number, configuration in enumerate(request["configurations"]):
            answer(begin=number)
            answer(done=number, **run(configuration, request, lambda: answer(tick=1)))


def run(about: dict[str, Any], request: dict[str, Any], tick: Any) -> dict[str, Any]:
    """The results of one configuration: medians and extremes for each mode, or the reason why there are none."""
    import measure

    builders: dict[str, Callable[[], Any]] = {
        "stock": lambda: measure.stock, "compile": lambda: measure.compiled(request["compile_mode"]),
        "dense": lambda: measure.ours(about["type"], "dense", request["reference"]),
        "sparse": lambda: measure.ours(about["type"], "sparse", request["reference"]),
    }
    implementations = [measure.Implementation(mode, builders[mode](), static=mode == "compile")
                       for mode in about["modes"]]
    try:
        found = measure.measure(
            lambda: measure.make_model(about["path"] or about["model"], about["layers"] or None, about["zeros"]),
            implementations, batch=about["batch"], context=about["context"], new_tokens=about["new_tokens"],
            rounds=request["rounds"], warmup=request["warmup"], keep_going=True, tick=tick)
    except (machine.RefusedError, RuntimeError, ValueError, OSError, MemoryError) as error:
        return {"failure": (str(error).splitlines() or [type(error).__name__])[0]}
    return {"results": [row(result) for result in found]}


def row(result: Any) -> dict[str, Any]:
    """What goes into the table of results."""
    if result.failure:
        return {"mode": result.name, "failure": result.failure}
    median = result.median()
    totals = [timing.total for timing in result.rounds]
    return {"mode": result.name, "prefill": median.prefill, "decode": median.decode, "total": median.total,
            "token": median.decode / len(median.tokens), "least": min(totals), "most": max(totals),
            "layers": median.layers, "bytes": result.bytes, "rounds": len(result.rounds)}


if __name__ == "__main__":
    main()
