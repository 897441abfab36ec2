#!/usr/bin/env python3
"""What pruning gains and costs, for one or several GGUF models: a table, report.json and pictures (PNG and SVG).

    report.py MODEL.gguf... --out DIR                            zeros by layer and kind of matrix
        --build build                                            bytes packed by the library, and speeds, predicted
                                                                 and measured
        --host LLAMA_CPP/build/bin --plugin libggml-sparamx.so   speed of a real engine without and with the library
    report.py --sweep DENSE.gguf --text FILE --host ... --out DIR
                                                                 perplexity and KL divergence over shares and methods:
                                                                 the curve that says where to stop
    report.py --equal DENSE.gguf --text FILE --gram FILE --host ... --build build --out DIR
                                                                 pruned models beside dense ones of as many bytes:
                                                                 whether pruning pays for this model at all

A method is magnitude, wanda (with --imatrix or --gram) or, with --gram, one of prune.py's --method ("exchange",
"swaps+refit"); and one of row, tensor, model, 2:4, 4:8, and growing (the step is tried out on --calibration):
"magnitude", "wanda tensor", "exchange growing", "sparsegpt 2:4". Predicted tokens per second: the machine's read
bandwidth over the bytes that a token needs.

Needs the PyPI packages gguf, numpy, tqdm and matplotlib; with --gram also safetensors.
"""

import argparse
import json
import os
import sys
from pathlib import Path

try:
    from tqdm import tqdm

    import equal
    import measures
    import pictures
    import sweep
    from container import Fault
    from text import run, say, visible
except ImportError as error:
    sys.exit(f"report.py: the Python package {error.name} is missing: pip install gguf numpy tqdm matplotlib")

STEPS = "0,0.05,0.1,0.15"


def shares_of(text):
    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        shares = [-1]
    if not all(0 < share < 1 for share in shares):
        raise argparse.ArgumentTypeError(f"shares are numbers between 0 and 1, separated by commas, not {text}")
    return shares


def methods_of(text):
    try:
        return [sweep.Method.of(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def types_of(text):
    try:
        return equal.types_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def steps_of(text):
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"steps are numbers, separated by commas, not {text}") from None


class Parser(argparse.ArgumentParser):
    """Its messages repeat what was typed."""

    def exit(self, status=0, message=None):
        super().exit(status, message and visible(message.rstrip("\n")) + "\n")


def parse_arguments():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL.gguf")
    parser.add_argument("--out", type=Path, required=True, help="folder for pictures and report.json")
    parser.add_argument("--build", type=Path, help="build folder of libsparamx")
    parser.add_argument("--host", type=Path, help="folder with llama-bench and llama-perplexity")
    parser.add_argument("--plugin", type=Path, help="libggml-sparamx.so, built for this host")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--sweep", type=Path, metavar="DENSE.gguf", help="prune this model in several ways")
    parser.add_argument("--equal", type=Path, metavar="DENSE.gguf", help="set this model, pruned, beside dense ones of "
                                                                         "as many bytes")
    parser.add_argument("--text", type=Path, help="text that perplexity is of: not that of the calibration")
    parser.add_argument("--calibration", type=Path, help="other text, on which the step of growing shares is chosen")
    parser.add_argument("--shares", type=shares_of, default=shares_of("0.2,0.3,0.4,0.5,0.6,0.7,0.8"))
    parser.add_argument("--methods", type=methods_of,
                        help="separated by commas (default: magnitude; with --imatrix also wanda, with --gram wanda "
                             "and exchange)")
    parser.add_argument("--imatrix", type=Path)
    parser.add_argument("--gram", type=Path, help="of the dense model, from the plugin with SPARAMX_COLLECT")
    parser.add_argument("--steps", type=steps_of, default=steps_of(STEPS),
                        help=f"of growing shares, see prune.py --progression (default: {STEPS})")
    parser.add_argument("--types", type=types_of, default=types_of("BF16,Q8_0,Q6_K,Q5_K_M,Q4_K_M,Q3_K_M,Q2_K"),
                        help="of --equal, as llama-quantize knows them")
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--chunks", type=int, default=0, help="of the text (default: all)")
    args = parser.parse_args()
    check(parser, args)
    return args


def check(parser, args):
    if not args.models and not args.sweep and not args.equal:
        parser.error("name a model, --sweep or --equal")
    if args.sweep and args.equal:
        parser.error("--sweep and --equal are two reports: make one after the other")
    if (args.sweep or args.equal) and not (args.text and args.host):
        parser.error("--sweep and --equal need --text and --host")
    if args.equal and not args.build:
        parser.error("--equal needs --build: the library's bytes are what is compared")
    if args.plugin and not (args.host and args.build):
        parser.error("--plugin needs --host and --build")
    if args.methods is None:
        names = ["magnitude", *(["wanda"] if args.imatrix or args.gram else []), *(["exchange"] if args.gram else [])]
        args.methods = [sweep.Method.of(name) for name in (names[-1:] if args.equal else names)]
    for method in args.methods:
        if method.score == "wanda" and not (args.imatrix or args.gram):
            parser.error("wanda needs --imatrix or --gram")
        if method.needs_grams and not args.gram:
            parser.error(f"{method.score} needs --gram")
        if method.form == sweep.GROWING and (not args.calibration or args.equal):
            parser.error("growing shares need --sweep and --calibration")
    if args.equal and (len(args.methods) > 1 or args.methods[0].form in sweep.PATTERNS):
        parser.error("--equal takes one method, and no pattern")


def make_reports(args, host):
    reports = []
    bandwidth = measures.read_bandwidth(args.build) if args.build and args.models else None
    for path in tqdm(args.models, desc="models", disable=not sys.stderr.isatty()):
        report = measures.count_zeros(path)
        if args.build:
            measures.pack(report, args.build)
            measures.predict(report, bandwidth)
        if host:
            report.measured["engine alone"] = host.speed(path, False)
            if args.plugin:
                report.measured["engine with library"] = host.speed(path, True)
        reports.append(report)
    return reports, bandwidth


def number(value):
    return "" if value is None else f"{value:.1f}"


def print_models(reports):
    names = list(dict.fromkeys(name for report in reports for name in report.measured))
    predicted = bool(reports[0].predicted)
    head = ["model", "zeros", "MB", *(["MB packed", "predicted t/s", "packed"] if predicted else []), *names]
    rows = []
    for report in reports:
        row = [visible(report.path.name), f"{report.zeros:.1%}", number(report.bytes_per_token(False) / 1e6)]
        if predicted:
            row += [number(report.bytes_per_token(True) / 1e6), number(report.predicted["dense"]),
                    number(report.predicted["packed"])]
        rows.append(row + [number(report.measured.get(name)) for name in names])
    print_table(head, rows)
    for report in reports:
        for note in (*report.notes(), *([f"{report.path.name}: {report.disturbed}"] if report.disturbed else [])):
            say(f"{note}.")


def print_table(head, rows):
    widths = [max(len(str(row[i])) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        print("  ".join(str(cell).ljust(width) if i == 0 else str(cell).rjust(width)
                        for i, (cell, width) in enumerate(zip(row, widths))).rstrip())


def print_sweep(rows):
    print_table(["method", "zeros", "perplexity", "KL divergence", "same top token", "gap closed", "seconds"],
                [[row["method"] + (f" {row['step']:g}" if "step" in row else ""), f"{row['share']:.0%}",
                  f"{row['ppl']:.3f}", f"{row['kld']:.4f}", f"{row['same_top']:.1%}",
                  "" if row.get("closed") is None else f"{row['closed']:.0%}", f"{row['seconds']:.0f}"]
                 for row in rows])
    if any(row.get("closed") is not None for row in rows):
        say("gap closed: of the distance in log-perplexity between the dense model and wanda at the same share.")


def print_equal(rows, isa):
    timed = rows[0]["speed"] is not None
    print_table(["model", "bits/weight", "MB", "perplexity", "KL divergence", "same top token",
                 *(["tokens/s"] if timed else [])],
                [[equal.label(row), f"{row['bits']:.2f}", f"{row['bytes'] / 1e6:.1f}", f"{row['ppl']:.3f}",
                  f"{row['kld']:.4f}", f"{row['same_top']:.1%}", *([number(row["speed"])] if timed else [])]
                 for row in sorted(rows, key=lambda row: -row["bytes"])])
    if not timed:
        why = (f"on this CPU the library runs at its level {isa}, which is right and slow" if isa == "reference"
               else "no --plugin was given")
        say(f"Speeds are not shown: {why}.")


def as_json(reports, bandwidth, rows, beside):
    models = [{"model": report.path.name, "zeros": report.zeros, "bytes_per_token": report.bytes_per_token(False),
               "packed_bytes_per_token": report.bytes_per_token(True), "predicted": report.predicted,
               "measured": report.measured,
               "disturbed": report.disturbed,
               "matrices": [vars(matrix) for matrix in report.matrices]} for report in reports]
    return {"cpu": reports[0].cpu if reports else "", "read_bytes_per_s": bandwidth, "models": models, "sweep": rows,
            "equal": beside}


def bar(name):
    return lambda steps: tqdm(steps, desc=name, disable=not sys.stderr.isatty())


def main():
    args = parse_arguments()
    if args.sweep:
        sweep.check(args.methods, args.shares, args.steps)
    args.out.mkdir(parents=True, exist_ok=True)
    host = args.host and measures.Host(args.host, args.plugin, args.build and args.build / "libsparamx.so",
                                       args.threads)
    texts = sweep.Texts(args.text, args.calibration, args.context, args.chunks)
    reports, bandwidth = make_reports(args, host)
    made, rows, beside, last = [], [], [], None
    if reports:
        print_models(reports)
        made += [pictures.zeros(reports, args.out), pictures.sizes(reports, args.out),
                 pictures.speeds(reports, args.out)]
    if args.sweep:
        rows = sweep.sweep(host, args.sweep, texts, args.shares, args.methods, args.steps, args.imatrix, args.gram,
                           bar("sweep"))
        print_sweep(rows)
        made.append(pictures.curves(rows, args.out))
    if args.equal:
        isa = equal.level(args.build, args.equal)
        beside = equal.rows_of(host.timed(isa != "reference"), args.equal, texts, args.types, args.shares,
                               args.methods[0], args.imatrix, args.gram, args.build, bar("equal bytes"))
        print_equal(beside, isa)
        made.append(pictures.equal_bytes(beside, args.out))
        last = equal.verdict(beside)
    told = as_json(reports, bandwidth, rows, beside)
    (args.out / "report.json").write_text(json.dumps(told, indent=1) + "\n")
    say("pictures: " + ", ".join(str(path) for path in made if path))
    if last:
        say(last)


if __name__ == "__main__":
    run("report.py", main, Fault)
