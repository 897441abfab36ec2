"""The command line of prune.py."""

import argparse
import os
import re
from pathlib import Path

import calibrated
from container import Fault
from text import visible

# Experts and shared experts included, also where each expert is a tensor of its own (ffn_up.3); routers (ffn_gate_inp)
# are small, and decide: they stay whole.
INCLUDE = (r"^blk\.\d+\.(attn_(q|k|v|qkv|output)|ffn_(gate|up|down|gate_up)(_exps|_shexp|\.\d+)?)\.weight$")
PATTERNS = {"2:4": (2, 4), "4:8": (4, 8)}


def share_of(text):
    try:
        share = float(text)
    except ValueError:
        share = -1
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"a share of zeros is a number from 0 to below 1, not {text}")
    return share


def expression_of(text):
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text} is no regular expression: {error}") from None


def progression_of(text):
    try:
        step = float(text)
    except ValueError:
        step = 2
    if not -1 < step < 1:
        raise argparse.ArgumentTypeError(f"a progression is a number between -1 and 1, not {text}")
    return step


def method_of(text):
    try:
        return calibrated.method_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


class Parser(argparse.ArgumentParser):
    """Its messages repeat what was typed."""

    def exit(self, status=0, message=None):
        super().exit(status, message and visible(message.rstrip("\n")) + "\n")


def parse(description):
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path, metavar="IN.gguf")
    parser.add_argument("output", type=Path, metavar="OUT.gguf")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--share", type=share_of,
                     help="share of zeros (default: 0.5); 0 only turns zeros of either sign into the type's zero")
    how.add_argument("--pattern", choices=PATTERNS, help="in every group of 4 (8) neighbours in a row, 2 (4) are kept")
    parser.add_argument("--scope", choices=("row", "tensor", "model"), default="row",
                        help="the share holds for each output row (default), each tensor, or all chosen tensors "
                             "together")
    parser.add_argument("--magnitude", action="store_true",
                        help="choose weights by their size alone; see what it costs")
    parser.add_argument("--imatrix", type=Path,
                        help="of this model, from llama-imatrix: scores are |w| times input norm")
    parser.add_argument("--gram", type=Path, help="of this model, from the plugin with SPARAMX_COLLECT: scores as with "
                                                  "an imatrix, and --method")
    parser.add_argument("--method", type=method_of, metavar="STEP[+STEP...]",
                        help="what is done with the Gram matrices: scores, or steps of swaps, sparsegpt, refit and "
                             f"exchange (default: {calibrated.BEST}); all but scores and swaps fit what stays anew")
    parser.add_argument("--include", type=expression_of, default=re.compile(INCLUDE), metavar="REGEX",
                        help="tensors to prune, found anywhere in the name (default: attention and feed-forward)")
    parser.add_argument("--exclude", type=expression_of, metavar="REGEX", help="tensors to leave out of these")
    parser.add_argument("--shares", type=Path, metavar="FILE",
                        help="lines REGEX SHARE: the first that fits gives a tensor's share; # starts a comment")
    parser.add_argument("--progression", type=progression_of, default=0.0, metavar="D",
                        help="shares grow evenly with the layers, from --share minus D to --share plus D (default: 0)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--dry-run", action="store_true", help="only say what would be pruned")
    parser.add_argument("--force", action="store_true", help="replace OUT.gguf if it exists")
    args = parser.parse_args()
    check(parser, args)
    return args


def check(parser, args):
    if args.threads < 1:
        parser.error("--threads must be at least 1")
    if args.pattern and args.scope != "row":
        parser.error("--pattern and --scope do not go together: a pattern's groups lie within a row")
    if args.shares and (args.pattern or args.scope == "model"):
        parser.error("--shares gives tensors shares of their own: not with --pattern or --scope model")
    if args.progression and (args.pattern or args.scope == "model"):
        parser.error("--progression gives layers shares of their own: not with --pattern or --scope model")
    if args.imatrix and (args.magnitude or args.gram):
        parser.error("--imatrix goes with neither --magnitude nor --gram")
    if args.method is not None and not args.gram:
        parser.error("--method needs --gram")
    if args.gram and args.scope != "row":
        parser.error("--gram works on rows: not with --scope tensor or model")
    if args.gram and args.method is None:
        args.method = calibrated.method_of(calibrated.BEST)
    if args.share is None:
        args.share = 0.5


def read_shares(path):
    """[(expression, share)]"""
    if path is None:
        return []
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Fault(f"{path} cannot be read: {error}") from None
    shares = []
    for number, line in enumerate(lines, 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        try:
            expression, share = words
            shares.append((expression_of(expression), share_of(share)))
        except (ValueError, argparse.ArgumentTypeError) as error:
            raise Fault(f"{path}, line {number}: not REGEX SHARE: {error}") from None
    return shares
