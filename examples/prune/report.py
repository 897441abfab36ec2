#!/usr/bin/env python3
"""What pruning gains and costs, for one or several GGUF models: a table, report.json and pictures (PNG and SVG).

    report.py MODEL.gguf... --out DIR                            zeros by layer and kind of matrix
        --build build                                            bytes packed by the library, and speeds, predicted
                                                                 and measured
        --host LLAMA_CPP/build/bin --plugin libggml-sparamx.so   speed of a real engine without and with the library
    report.py --sweep DENSE.gguf --text FILE --host ... --out DIR
                                                                 perplexity and KL divergence over shares and methods:
                                                                 the curve that says where to stop

A method is magnitude or wanda (with --imatrix), and one of row, tensor, model, 2:4, 4:8: "magnitude", "wanda tensor",
"magnitude 2:4". Predicted tokens per second: the machine's read bandwidth over the bytes that a token needs.

Needs the PyPI packages gguf, numpy, tqdm and matplotlib.
"""

import argparse
import json
import os
import sys
from pathlib import Path

try:
    from tqdm import tqdm

    import measures
    import pictures
    from container import Fault
    from text import run, say, visible
except ImportError as error:
    sys.exit(f"report.py: the Python package {error.name} is missing: pip install gguf numpy tqdm matplotlib")

SCORES, FORMS = ("magnitude", "wanda"), ("row", "tensor", "model", "2:4", "4:8")


def shares_of(text):
    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        shares = [-1]
    if not all(0 < share < 1 for share in shares):
        raise argparse.ArgumentTypeError(f"shares are numbers between 0 and 1, separated by commas, not {text}")
    return shares


def methods_of(text):
    methods = [part.strip() for part in text.split(",")]
    for method in methods:
        score, _, form = method.partition(" ")
        if score not in SCORES or form not in ("", *FORMS):
            raise argparse.ArgumentTypeError(f"no such method: {method}")
    return methods


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
    parser.add_argument("--text", type=Path, help="text that the sweep's perplexity is of")
    parser.add_argument("--shares", type=shares_of, default=shares_of("0.2,0.3,0.4,0.5,0.6,0.7,0.8"))
    parser.add_argument("--methods", type=methods_of,
                        help="separated by commas (default: magnitude; with --imatrix also wanda)")
    parser.add_argument("--imatrix", type=Path)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--chunks", type=int, default=0, help="of the text (default: all)")
    args = parser.parse_args()
    if not args.models and not args.sweep:
        parser.error("name a model, or --sweep")
    if args.sweep and not (args.text and args.host):
        parser.error("--sweep needs --text and --host")
    if args.plugin and not (args.host and args.build):
        parser.error("--plugin needs --host and --build")
    if args.methods is None:
        args.methods = ["magnitude", "wanda"] if args.imatrix else ["magnitude"]
    if any(method.startswith("wanda") for method in args.methods) and not args.imatrix:
        parser.error("wanda needs --imatrix")
    return args


def make_reports(args, host):
    reports = []
    bandwidth = measures.read_bandwidth(args.build) if args.build else None
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
        if report.disturbed:
            say(f"{report.path.name}: {report.disturbed}")


def print_table(head, rows):
    widths = [max(len(str(row[i])) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        print("  ".join(str(cell).ljust(width) if i == 0 else str(cell).rjust(width)
                        for i, (cell, width) in enumerate(zip(row, widths))).rstrip())


def as_json(reports, bandwidth, rows):
    models = [{"model": report.path.name, "zeros": report.zeros, "bytes_per_token": report.bytes_per_token(False),
               "packed_bytes_per_token": report.bytes_per_token(True), "predicted": report.predicted,
               "measured": report.measured,
               "disturbed": report.disturbed,
               "matrices": [vars(matrix) for matrix in report.matrices]} for report in reports]
    return {"cpu": reports[0].cpu if reports else "", "read_bytes_per_s": bandwidth, "models": models, "sweep": rows}


def main():
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    host = args.host and measures.Host(args.host, args.plugin, args.build and args.build / "libsparamx.so",
                                       args.threads)
    reports, bandwidth = make_reports(args, host)
    made, rows = [], []
    if reports:
        print_models(reports)
        made += [pictures.zeros(reports, args.out), pictures.sizes(reports, args.out),
                 pictures.speeds(reports, args.out)]
    if args.sweep:
        rows = measures.sweep(host, args.sweep, args.text, args.shares, args.methods, args.imatrix, args.context,
                              args.chunks,
                              lambda steps: tqdm(steps, desc="sweep", disable=not sys.stderr.isatty()))
        print_table(["method", "zeros", "perplexity", "KL divergence", "same top token"],
                    [[row["method"], f"{row['share']:.0%}", f"{row['ppl']:.3f}", f"{row['kld']:.4f}",
                      f"{row['same_top']:.1%}"]
                     for row in rows])
        made.append(pictures.curves(rows, args.out))
    (args.out / "report.json").write_text(json.dumps(as_json(reports, bandwidth, rows), indent=1) + "\n")
    say("pictures: " + ", ".join(str(path) for path in made if path))


if __name__ == "__main__":
    run("report.py", main, Fault)
