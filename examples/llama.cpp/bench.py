#!/usr/bin/env python3
"""How much faster an unmodified llama.cpp is with the plugin: llama-bench with and without it, in turn, medians.

    bench.py --host DIR --plugin libggml-sparamx.so [--library libsparamx.so] [--json FILE] [MODEL.gguf ...]

DIR is the folder with llama-bench. Without models it makes a llama of 1.1 B parameters with examples/make_model.py,
half of its weights zero (--sparsity), in BF16 and in Q8_0 (needs the packages gguf, numpy and tqdm; the files stay in
--cache). Other types of --types are made from the BF16 one with the host's own llama-quantize, which must then be in
DIR too. --experts 16 makes a mixture of 16 experts of about the same size in its place, of which --experts-used work on
a token.

"In products" says how much of the time with the plugin is spent in the library's products; the rest is the host's:
attention, norms, the weights left to it, its threads' waiting. A machine that does other work meanwhile gives other
numbers: the load is printed with them.

"Memory" is that of the weights that the library took: as packed, in MiB and as share of their bytes in the file, and
by how much the host's anonymous memory shrank when it freed them, as share of the packed bytes. 100% is nothing beside
them.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MAKE_MODEL = Path(__file__).resolve().parents[1] / "make_model.py"
DENSE = ("--preset", "1b")
MIXTURE = ("--preset", "1b", "--embd", "1024", "--heads", "16", "--kv-heads", "4")  # the rest follows from the experts
MIXTURE_FF, MIXTURE_WEIGHTS = 1536, 0.95e9
MIB = 2**20
MADE = ("bf16", "f16", "q8_0")  # by make_model.py
# By llama-quantize.
QUANTIZED = ("q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k_m", "q4_k_m", "q5_k_m", "q6_k", "iq4_nl", "iq4_xs")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL.gguf")
    parser.add_argument("--host", type=Path, required=True, help="folder with llama-bench")
    parser.add_argument("--plugin", type=Path, required=True, help="libggml-sparamx.so, built for this host")
    parser.add_argument("--library", type=Path, help="libsparamx.so (default: found beside the plugin)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, nargs="+", default=[512],
                        help="tokens of the prompt tests (default: 512)")
    parser.add_argument("--gen", type=int, default=64, help="tokens of the generation test; 0: none")
    parser.add_argument("--rounds", type=int, default=5, help="times that each side runs each test")
    parser.add_argument("--types", nargs="+", choices=MADE + QUANTIZED, default=("bf16", "q8_0"),
                        help="of the models made")
    parser.add_argument("--sparsity", type=float, default=0.5, help="share of zeros in the models made (default: 0.5)")
    parser.add_argument("--experts", type=int, default=0, help="of the models made (default: none)")
    parser.add_argument("--experts-used", type=int, default=4, help="of them per token (default: 4)")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "sparamx-hosts" / "models")
    parser.add_argument("--json", type=Path, help="also write the table here")
    args = parser.parse_args()
    if args.experts and not 1 <= args.experts_used <= args.experts:
        parser.error("--experts-used must be from 1 to --experts")
    if min(args.prompt) < 1 or args.gen < 0:
        parser.error("--prompt must be at least 1, --gen at least 0")
    if not 0 <= args.sparsity < 1:
        parser.error("--sparsity must be from 0 to below 1")
    return args


def find_models(args):
    """(file, sparsity and type, None if they are not known)"""
    if args.models:
        return [(path, None, None) for path in args.models]
    args.cache.mkdir(parents=True, exist_ok=True)
    return [(make_model(args, kind), args.sparsity, kind.upper()) for kind in args.types]


def sizes(args):
    """(name of the models made, options of make_model.py)"""
    if not args.experts:
        return "1b", DENSE
    # Layers, so that the whole has the wanted size however many experts there are.
    layers = max(1, round(MIXTURE_WEIGHTS / (3 * MIXTURE_FF * 1024 * args.experts)))
    experts = ("--experts", str(args.experts), "--experts-used", str(args.experts_used))
    name = f"1b-{args.experts}x{args.experts_used}"
    return name, (*MIXTURE, "--layers", str(layers), "--ff", str(MIXTURE_FF), *experts)


def make_model(args, kind):
    name, options = sizes(args)
    path = args.cache / f"{name}-{kind}-{round(args.sparsity * 100)}.gguf"
    if path.exists():
        return path
    partial = path.with_suffix(".partial")
    if kind in MADE:
        command = [sys.executable, MAKE_MODEL, partial, *options, "--type", kind, "--sparsity", str(args.sparsity),
                   "--force"]
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


@dataclass(frozen=True)
class Run:
    speed: float      # tokens per second
    model: str        # as the host calls it
    products: float   # seconds of products per token
    memory: tuple     # bytes of the library's weights: in the file, packed, resident


def run_once(args, model, prompt, gen, with_plugin):
    env = {name: value for name, value in os.environ.items()
           if name not in ("GGML_BACKEND_PATH", "LD_PRELOAD", "SPARAMX_MODE")}
    if with_plugin:
        env.update(GGML_BACKEND_PATH=str(args.plugin.resolve()), SPARAMX_STATS="1")
        if args.library:
            env["SPARAMX_LIB"] = str(args.library.resolve())
    repeats = 1 if gen else max(1, 256 // prompt)  # a few tokens are over too soon to be measured once
    command = [str(args.host / "llama-bench"), "-m", str(model), "-p", str(prompt), "-n", str(gen),
               "-t", str(args.threads), "-r", str(repeats), "-o", "json"]
    result = subprocess.run(command, env=env, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"bench.py: {' '.join(command)} ended with status {result.returncode}:\n{result.stderr[-2000:]}")
    row = json.loads(result.stdout)[0]
    if not with_plugin:
        return Run(row["avg_ts"], row["model_type"], 0, ())
    products = re.search(r"sparamx: \d+ products, (\d+) tokens, ([0-9.]+) seconds", result.stderr)
    memory = re.search(r"sparamx: weights of (\d+) bytes, packed (\d+), resident (\d+)", result.stderr)
    if not products or not memory or not int(products[1]):
        lines = [line for line in result.stderr.splitlines() if "sparamx" in line]
        sys.exit("bench.py: the plugin computed nothing: " + ("; ".join(lines) or "it was not loaded"))
    share = float(products[2]) / int(products[1])
    return Run(row["avg_ts"], row["model_type"], share, tuple(map(int, memory.groups())))


def measure(args, model, sparsity, kind):
    for prompt, gen in [(prompt, 0) for prompt in args.prompt] + [(0, args.gen)] * bool(args.gen):
        test = f"tg{gen}" if gen else f"pp{prompt}"
        stock, ours = [], []
        for _ in range(args.rounds):
            stock.append(run_once(args, model, prompt, gen, False).speed)
            ours.append(run_once(args, model, prompt, gen, True))
        speeds = [run.speed for run in ours]
        row = {"model": ours[0].model, "type": kind or ours[0].model.split(maxsplit=2)[-1], "sparsity": sparsity,
               "test": test, "stock_tps": round(statistics.median(stock), 3),
               "sparamx_tps": round(statistics.median(speeds), 3)}
        row["ratio"] = round(row["sparamx_tps"] / row["stock_tps"], 3)
        row["stock_spread"] = round((max(stock) - min(stock)) / row["stock_tps"], 3)
        row["sparamx_spread"] = round((max(speeds) - min(speeds)) / row["sparamx_tps"], 3)
        row["product_share"] = round(statistics.median(run.products * run.speed for run in ours), 3)
        row["experts"] = [args.experts, args.experts_used] if args.experts and sparsity is not None else None
        row["file_bytes"], row["packed_bytes"] = ours[0].memory[:2]
        row["resident_bytes"] = max(run.memory[2] for run in ours)
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
    print(f"{'model':<28}{'zeros':>6} {'test':<7}{'stock t/s':>10}{'sparamx t/s':>12}{'ratio':>7}{'spread':>12}"
          f"{'in products':>13}{'memory: MiB':>13}{'of file':>9}{'resident':>10}")
    rows = []
    for model, sparsity, kind in find_models(args):
        for row in measure(args, model, sparsity, kind):
            rows.append(row)
            zeros = "?" if sparsity is None else f"{sparsity:.0%}"
            name = row["model"] + ("" if not row["experts"] else " {}x{}".format(*row["experts"]))
            print(f"{name:<28}{zeros:>6} {row['test']:<7}{row['stock_tps']:>10.2f}{row['sparamx_tps']:>12.2f}"
                  f"{row['ratio']:>7.2f}{row['stock_spread']:>6.0%}{row['sparamx_spread']:>6.0%}"
                  f"{row['product_share']:>13.0%}"
                  f"{row['packed_bytes'] / MIB:>13.1f}{row['packed_bytes'] / row['file_bytes']:>9.0%}"
                  f"{row['resident_bytes'] / row['packed_bytes']:>10.1%}", flush=True)
    if args.json:
        result = {"cpu": cpu_name(), "threads": args.threads, "load": round(load, 2), "rows": rows}
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
