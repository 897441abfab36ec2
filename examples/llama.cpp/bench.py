#!/usr/bin/env python3
"""How much faster an unmodified llama.cpp is with the plugin: llama-bench with and without it, in turn, medians.

    bench.py --host DIR --plugin libggml-sparamx.so [--library libsparamx.so] [--json FILE] [MODEL.gguf ...]

DIR is the folder with llama-bench. Without models it makes a llama of 1.1 B parameters with examples/make_model.py, half
of its weights zero, in BF16 and in Q8_0 (needs the packages gguf, numpy and tqdm; the files stay in --cache). Other types
of --types are made from the BF16 one with the host's own llama-quantize, which must then be in DIR too.

The last column says how much of the time with the plugin is spent in the library's products; the rest is the host's:
attention, norms, the weights left to it, its threads' waiting. A machine that does other work meanwhile gives other
numbers: the load is printed with them.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

MAKE_MODEL = Path(__file__).resolve().parents[1] / "make_model.py"
SPARSITY = 0.5
MADE = ("bf16", "f16", "q8_0")  # by make_model.py
QUANTIZED = ("q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k_m", "q4_k_m", "q5_k_m", "q6_k", "iq4_nl", "iq4_xs")  # by llama-quantize


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL.gguf")
    parser.add_argument("--host", type=Path, required=True, help="folder with llama-bench")
    parser.add_argument("--plugin", type=Path, required=True, help="libggml-sparamx.so, built for this host")
    parser.add_argument("--library", type=Path, help="libsparamx.so (default: found beside the plugin)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prompt test")
    parser.add_argument("--gen", type=int, default=64, help="tokens of the generation test")
    parser.add_argument("--rounds", type=int, default=5, help="times that each side runs each test")
    parser.add_argument("--types", nargs="+", choices=MADE + QUANTIZED, default=("bf16", "q8_0"), help="of the models made")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "sparamx-hosts" / "models")
    parser.add_argument("--json", type=Path, help="also write the table here")
    return parser.parse_args()


def find_models(args):
    """(file, sparsity or None if it is not known)"""
    if args.models:
        return [(path, None) for path in args.models]
    args.cache.mkdir(parents=True, exist_ok=True)
    return [(make_model(args, kind), SPARSITY) for kind in args.types]


def make_model(args, kind):
    path = args.cache / f"1b-{kind}-{round(SPARSITY * 100)}.gguf"
    if path.exists():
        return path
    partial = path.with_suffix(".partial")
    if kind in MADE:
        command = [sys.executable, MAKE_MODEL, partial, "--preset", "1b", "--type", kind, "--sparsity", str(SPARSITY), "--force"]
    else:
        command = [args.host / "llama-quantize", make_model(args, "bf16"), partial, kind.upper(), str(args.threads)]
    print(f"making {path}", file=sys.stderr)
    log = path.with_suffix(".log")
    with log.open("w") as lines:
        try:
            subprocess.run(command, check=True, stdout=lines, stderr=lines)
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(f"bench.py: {path} could not be made: {error}; see {log}")
    partial.rename(path)
    return path


def run_once(args, model, test, with_plugin):
    """(tokens per second, seconds of products per token or None, type of the model)"""
    env = {name: value for name, value in os.environ.items() if name not in ("GGML_BACKEND_PATH", "LD_PRELOAD", "SPARAMX_MODE")}
    if with_plugin:
        env.update(GGML_BACKEND_PATH=str(args.plugin.resolve()), SPARAMX_STATS="1")
        if args.library:
            env["SPARAMX_LIB"] = str(args.library.resolve())
    prompt, gen = (args.prompt, 0) if test.startswith("pp") else (0, args.gen)
    command = [str(args.host / "llama-bench"), "-m", str(model), "-p", str(prompt), "-n", str(gen), "-t", str(args.threads),
               "-r", "1", "-o", "json"]
    result = subprocess.run(command, env=env, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"bench.py: {' '.join(command)} ended with status {result.returncode}:\n{result.stderr[-2000:]}")
    row = json.loads(result.stdout)[0]
    products = re.search(r"sparamx: \d+ products, (\d+) tokens, ([0-9.]+) seconds", result.stderr)
    if with_plugin and not products:
        lines = [line for line in result.stderr.splitlines() if "sparamx" in line]
        sys.exit("bench.py: the plugin computed nothing: " + ("; ".join(lines) or "it was not loaded"))
    per_token = float(products[2]) / int(products[1]) if products and int(products[1]) else None
    return row["avg_ts"], per_token, row["model_type"]


def measure(args, model, sparsity):
    for test in (f"pp{args.prompt}", f"tg{args.gen}"):
        stock, ours, share = [], [], []
        for _ in range(args.rounds):
            stock.append(run_once(args, model, test, False)[0])
            speed, per_token, name = run_once(args, model, test, True)
            ours.append(speed)
            if per_token is not None:
                share.append(per_token * speed)
        row = {"model": name, "type": name.split()[-1], "sparsity": sparsity, "test": test,
               "stock_tps": round(statistics.median(stock), 3), "sparamx_tps": round(statistics.median(ours), 3)}
        row["ratio"] = round(row["sparamx_tps"] / row["stock_tps"], 3)
        row["stock_spread"] = round((max(stock) - min(stock)) / row["stock_tps"], 3)
        row["sparamx_spread"] = round((max(ours) - min(ours)) / row["sparamx_tps"], 3)
        row["product_share"] = round(statistics.median(share), 3) if share else None
        yield row


def cpu_name():
    match = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return match[1] if match else "unknown CPU"


def main():
    args = parse_arguments()
    for needed in (args.host / "llama-bench", args.plugin, *args.models, *([args.library] if args.library else [])):
        if not needed.exists():
            sys.exit(f"bench.py: {needed} does not exist")
    load = os.getloadavg()[0]
    print(f"{cpu_name()}, {args.threads} threads, median of {args.rounds}, load before: {load:.1f}")
    print(f"{'model':<18}{'zeros':>6} {'test':<7}{'stock t/s':>12}{'sparamx t/s':>13}{'ratio':>8}{'spread':>14}{'in products':>13}")
    rows = []
    for model, sparsity in find_models(args):
        for row in measure(args, model, sparsity):
            rows.append(row)
            zeros = "?" if sparsity is None else f"{sparsity:.0%}"
            share = "" if row["product_share"] is None else f"{row['product_share']:.0%}"
            print(f"{row['model']:<18}{zeros:>6} {row['test']:<7}{row['stock_tps']:>12.2f}{row['sparamx_tps']:>13.2f}{row['ratio']:>8.2f}"
                  f"{row['stock_spread']:>7.0%}{row['sparamx_spread']:>7.0%}{share:>13}", flush=True)
    if args.json:
        args.json.write_text(json.dumps({"cpu": cpu_name(), "threads": args.threads, "load": round(load, 2), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
