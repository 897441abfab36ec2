#!/usr/bin/env python3
"""Speed of packed layers beside PyTorch's and others' that are installed, measured in turn, round by round.

    bench.py              a Llama of 1 B shapes (8 layers), 128 tokens read and 32 written, and 8 sequences at once;
                          and one layer of 4096 x 4096 with 1 to 512 tokens
    bench.py --text       the first part alone;  --layers: the second

Peers take part where they can: torch.compile, PyTorch's dynamic int8, torchao (pip install torchao), OpenVINO (pip
install openvino nncf). One that fails says why in its line.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import machine  # noqa: E402
from machine import RefusedError  # noqa: E402

STOCK, COMPILE, INT8 = "PyTorch bf16", "torch.compile bf16", "PyTorch dynamic int8"


def text(options: argparse.Namespace) -> dict[str, Any]:
    """End to end: seconds of every implementation, for each batch."""
    import measure

    mine = [("bf16", "dense"), ("bf16", "sparse"), ("q8_0", "dense"), ("q8_0", "sparse"), ("q4_0", "sparse")]
    peers = [measure.Implementation(STOCK, measure.stock),
             measure.Implementation(COMPILE, measure.compiled(options.compile_mode), static=True),
             measure.Implementation(INT8, measure.dynamic_int8),
             measure.Implementation("torchao int8", measure.torchao("int8")),
             measure.Implementation("torchao int4", measure.torchao("int4"))]
    ours = [measure.Implementation(f"sparamx {weights} {form}", measure.ours(weights, form, options.reference))
            for weights, form in mine]
    wanted = [one for one in peers + ours if not options.only or any(part in one.name for part in options.only)]
    found: dict[str, Any] = {}
    for batch in options.batches:
        results = measure.measure(
            lambda: measure.make_model(options.model, options.model_layers, options.zeros), wanted, batch=batch,
            context=options.context, new_tokens=options.new_tokens, rounds=options.rounds, warmup=options.warmup,
            keep_going=True)
        found[str(batch)] = {result.name: _figures(result) for result in results}
        print(f"\n{options.model}, {options.zeros:.0%} zeros, batch {batch}: {options.context} tokens read, "
              f"{options.new_tokens} written; medians of {options.rounds} rounds")
        _print_text(found[str(batch)])
    return found


def _figures(result: Any) -> dict[str, Any]:
    if result.failure:
        return {"failure": result.failure}
    median = result.median()
    return {"total": median.total, "prompt": median.prefill, "token": median.decode / len(median.tokens),
            "least": min(t.total for t in result.rounds), "most": max(t.total for t in result.rounds),
            "bytes": result.bytes}


def _print_text(found: dict[str, Any]) -> None:
    base = found.get(STOCK, {}).get("total")
    print(f"{'':<24} {'whole, s':>9} {'min':>8} {'max':>8} {'prompt, ms':>11} {'token, ms':>10} {'MB':>7} "
          f"{'stock/it':>9}")
    for name, row in found.items():
        if "failure" in row:
            print(f"{name:<24} {row['failure'][:90]}")
            continue
        times = f"{base / row['total']:.2f}" if base else ""
        print(f"{name:<24} {row['total']:>9.3f} {row['least']:>8.3f} {row['most']:>8.3f} {row['prompt'] * 1e3:>11.2f} "
              f"{row['token'] * 1e3:>10.2f} {row['bytes'] / 1e6:>7.1f} {times:>9}")


def layers(options: argparse.Namespace) -> dict[str, Any]:
    """One layer: milliseconds of every implementation, for each number of tokens."""
    import layer_peers

    found = layer_peers.measure(options)
    print(f"\na layer of {options.size} x {options.size}, {options.zeros:.0%} zeros in ours, ms; medians of "
          f"{options.rounds * layer_peers.PER_ROUND} calls")
    print(f"{'tokens':<24}" + "".join(f"{m:>10}" for m in options.tokens))
    for name, row in found.items():
        print(f"{name:<24}" + (row["failure"][:90] if "failure" in row
                               else "".join(f"{row[str(m)] * 1e3:>10.3f}" for m in options.tokens)))
    return found


def verdicts(texts: dict[str, Any], table: dict[str, Any], tokens: list[int]) -> list[str]:
    """What is promised of the speed, each with its figure: "holds" or "does not hold"."""
    lines = []

    def compare(what: str, ours: float | None, theirs: float | None, bound: float) -> None:
        if ours and theirs:
            held = "holds" if theirs / ours >= bound else "DOES NOT HOLD"
            lines.append(f"{held}: {what}: {theirs / ours:.2f} times as fast, at least {bound:.2f} wanted")

    def figure(batch: str, name: str, key: str) -> float | None:
        return texts.get(batch, {}).get(name, {}).get(key)

    for batch in texts:
        for name in (STOCK, COMPILE):
            compare(f"bf16 sparse against {name}, batch {batch}, whole", figure(batch, "sparamx bf16 sparse", "total"),
                    figure(batch, name, "total"), 1.0)
        for key in ("prompt", "token"):
            compare(f"bf16 sparse against dense, batch {batch}, {key}", figure(batch, "sparamx bf16 sparse", key),
                    figure(batch, "sparamx bf16 dense", key), 0.97)
    for m in map(str, tokens):
        compare(f"bf16 sparse against dense, {m} tokens", table.get("sparamx bf16 sparse", {}).get(m),
                table.get("sparamx bf16 dense", {}).get(m), 0.97)
    compare(f"q8_0 sparse against {INT8}, 1 token", table.get("sparamx q8_0 sparse", {}).get("1"),
            table.get(INT8, {}).get("1"), 1.0)
    return lines


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", action="store_true", help="end to end alone")
    parser.add_argument("--layers", action="store_true", help="one layer alone")
    parser.add_argument("--model", default="llama-1b", help="tiny, llama-1b, llama-3b, llama-8b, or a folder")
    parser.add_argument("--model-layers", type=int, default=8, help="how many of its layers; 0: all")
    parser.add_argument("--zeros", type=float, default=0.5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--size", type=int, default=4096, help="rows and columns of the one layer")
    parser.add_argument("--tokens", type=int, nargs="+", default=[1, 4, 8, 16, 64, 512])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--cores", type=int, default=None, help="pinned to; all if not given")
    parser.add_argument("--only", nargs="+", default=[], help="parts of the names that take part")
    parser.add_argument("--compile-mode", choices=("max-autotune", "default", "eager"), default="max-autotune")
    parser.add_argument("--reference", action="store_true", help="also without AVX-512: nothing to publish")
    parser.add_argument("--json", metavar="FILE", help="all figures, with the machine")
    return parser


def main() -> int:
    """Returns the exit status."""
    options = arguments().parse_args()
    both = options.text == options.layers
    try:
        mine = len(machine.cores())
        if not 1 <= (options.cores or mine) <= mine:
            raise RefusedError(f"{options.cores} cores are asked for, and this machine lends {mine}")
        if options.rounds < 1 or options.warmup < 0 or options.new_tokens < 2 or not 0 <= options.zeros < 1 \
                or min(options.tokens + options.batches + [options.context, options.size]) < 1:
            raise RefusedError("rounds, batches, tokens and sizes are at least 1, new tokens 2, zeros 0 to below 1")
        machine.pin(options.cores or mine)
        machine.require_avx512(options.reference)
        import measure
        about = machine.describe()
        print(", ".join(f"{key} {value}" for key, value in about.items()))
        with measure.quiet():
            texts = text(options) if both or options.text else {}
            table = layers(options) if both or options.layers else {}
        found = verdicts(texts, table, options.tokens)
        if about["level"] == "reference":
            found = ["Measured without AVX-512: the library computed in scalar code; this says nothing of its speed."]
        print("\n" + "\n".join(found))
        if options.json:
            Path(options.json).write_text(json.dumps(
                {"machine": about, "options": vars(options), "text": texts, "layers": table, "verdicts": found},
                indent=1) + "\n")
    except (RefusedError, ImportError, OSError) as error:
        print(f"bench.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
