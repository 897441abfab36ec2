#!/usr/bin/env python3
"""Prunes a GGUF model: writes a copy in which the least important weights of attention and feed-forward are zero.

    prune.py IN.gguf OUT.gguf --imatrix IMATRIX --share 0.6  by Wanda's score: with the inputs that llama-imatrix saw
    prune.py IN.gguf OUT.gguf --magnitude                    half of each row, by magnitude: ruins small models
    prune.py IN.gguf OUT.gguf --imatrix IMATRIX --pattern 2:4  two of each four neighbours

The tensors keep their types; a pruned weight is the code that means zero there. K-quants cannot be pruned: prune the
F16 or BF16 file (llama-quantize --allow-requantize IN.gguf BF16.gguf BF16 makes one), then run llama-quantize, which
keeps zeros. Everything else in the file is carried over byte for byte,
and a key sparamx.prune.N says what was done. README.md: which models bear how much.

Needs the PyPI packages gguf, numpy and tqdm.
"""

import argparse
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

try:
    from tqdm import tqdm

    import choice
    import expect
    import imatrix
    from codes import PRUNABLE
    from container import Container, Fault
    from text import run, say, visible
except ImportError as error:
    sys.exit(f"prune.py: the Python package {error.name} is missing: pip install gguf numpy tqdm")

# Experts and shared experts included; routers (ffn_gate_inp) are small, and decide: they stay whole.
INCLUDE = r"^blk\.\d+\.(attn_(q|k|v|qkv|output)|ffn_(gate|up|down|gate_up)(_exps|_shexp)?)\.weight$"
PATTERNS = {"2:4": (2, 4), "4:8": (4, 8)}
RECORD = "sparamx.prune."


@dataclass(frozen=True)
class Chosen:
    """A tensor that is pruned, and its share of zeros (None: the pattern's or the model's)."""
    tensor: object
    share: float | None


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


class Parser(argparse.ArgumentParser):
    """Its messages repeat what was typed."""

    def exit(self, status=0, message=None):
        super().exit(status, message and visible(message.rstrip("\n")) + "\n")


def parse_arguments():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path, metavar="IN.gguf")
    parser.add_argument("output", type=Path, metavar="OUT.gguf")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--share", type=share_of,
                     help="share of zeros (default: 0.5); 0 only turns zeros of either sign into the type's zero")
    how.add_argument("--pattern", choices=PATTERNS, help="in every group of 4 (8) neighbours in a row, 2 (4) are kept")
    parser.add_argument("--scope", choices=("row", "tensor", "model"), default="row",
                        help="the share holds for each output row (default), each tensor, or all chosen tensors "
                             "together")
    score = parser.add_mutually_exclusive_group()
    score.add_argument("--magnitude", action="store_true", help="choose weights by their size alone; see what it costs")
    score.add_argument("--imatrix", type=Path,
                       help="of this model, from llama-imatrix: scores are |w| times input norm")
    parser.add_argument("--include", type=expression_of, default=re.compile(INCLUDE), metavar="REGEX",
                        help="tensors to prune, found anywhere in the name (default: attention and feed-forward)")
    parser.add_argument("--exclude", type=expression_of, metavar="REGEX", help="tensors to leave out of these")
    parser.add_argument("--shares", type=Path, metavar="FILE",
                        help="lines REGEX SHARE: the first that fits gives a tensor's share; # starts a comment")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--dry-run", action="store_true", help="only say what would be pruned")
    parser.add_argument("--force", action="store_true", help="replace OUT.gguf if it exists")
    args = parser.parse_args()
    if args.threads < 1:
        parser.error("--threads must be at least 1")
    if args.pattern and args.scope != "row":
        parser.error("--pattern and --scope do not go together: a pattern's groups lie within a row")
    if args.shares and (args.pattern or args.scope == "model"):
        parser.error("--shares gives tensors shares of their own: not with --pattern or --scope model")
    if args.share is None:
        args.share = 0.5
    return args


def check_output(args):
    if not args.output.parent.is_dir():
        raise Fault(f"the folder {args.output.parent} does not exist")
    if args.output.exists():
        for other in filter(None, (args.input, args.imatrix, args.shares)):
            if other.exists() and args.output.samefile(other):
                raise Fault(f"{args.output} is an input of this command: it is never overwritten")
        if not args.force:
            raise Fault(f"{args.output} exists already: --force replaces it")


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


def choose(model, args):
    """The tensors to prune, in the order of the file."""
    shares = read_shares(args.shares)
    chosen = []
    for tensor in model.tensors:
        if not args.include.search(tensor.name) or (args.exclude and args.exclude.search(tensor.name)):
            continue
        share = None if args.pattern or args.scope == "model" else args.share
        own = next((own for expression, own in shares if expression.search(tensor.name)), None)
        if own == 0 or len(tensor.shape) < 2 or tensor.weights == 0:  # a bias or a norm is no matrix
            continue
        if tensor.type not in PRUNABLE:
            raise Fault(f"{tensor.name} is {tensor.type.name}, which cannot be pruned without encoding it anew: prune "
                        "the F16 or BF16 model (llama-quantize --allow-requantize IN.gguf BF16.gguf BF16 makes one) "
                        "and run llama-quantize on the result, which keeps zeros; or --exclude this tensor")
        if args.pattern and tensor.columns % PATTERNS[args.pattern][1]:
            raise Fault(f"the rows of {tensor.name} have {tensor.columns} weights, which groups of {args.pattern} do "
                        "not divide")
        chosen.append(Chosen(tensor, share if own is None else own))
    if not chosen:
        raise Fault(f"no tensor of {args.input} is chosen: see --include and --exclude")
    return chosen


def check_expectation(model, chosen, args):
    """Says what to expect; refuses to go on where nobody has said how weights are to be chosen."""
    weights = sum(one.tensor.weights for one in chosen)
    zeros = sum(one.tensor.weights * (0.5 if args.pattern else args.share if one.share is None else one.share)
                for one in chosen)
    share, in_all = zeros / weights, sum(tensor.weights for tensor in model.tensors)
    if share < expect.HARMLESS:
        return
    if not args.imatrix and not args.magnitude and not args.dry_run:
        raise Fault(expect.demand(in_all, share))
    say(f"{expect.sentence(in_all, share, args.imatrix is not None)}.")


def load_norms(chosen, path):
    """{tensor: input norms}, empty for magnitude."""
    if path is None:
        return {}
    means = imatrix.load(path)
    return {one.tensor.name: imatrix.norms(means, one.tensor, path) for one in chosen}


def record(model, chosen, args):
    """{key: text}: what is done, under a number that the file has not used."""
    number = next(i for i in range(1, 1 << 20) if f"{RECORD}{i}" not in model.fields)
    what = {"tool": "libsparamx prune.py", "score": "wanda" if args.imatrix else "magnitude",
            "imatrix": args.imatrix and args.imatrix.name, "include": args.include.pattern,
            "exclude": args.exclude and args.exclude.pattern}
    if args.pattern:
        what["pattern"] = args.pattern
    elif args.scope == "model":
        what |= {"scope": "model", "share": args.share}
    else:
        what |= {"scope": args.scope, "shares": {one.tensor.name: one.share for one in chosen}}
    return {f"{RECORD}{number}": json.dumps({**what, "tensors": len(chosen)}, separators=(",", ":"))}


class Pruner:
    """Prunes one tensor after the other; adds up what became of them."""

    def __init__(self, model, chosen, norms, args, pool):
        self.model, self.norms, self.args, self.pool = model, norms, args, pool
        self.chosen = {one.tensor.name: one for one in chosen}
        self.counts = {}
        self.cut, self.n_equal = None, 0
        if args.scope == "model":
            self.cut = choice.find_cut(pool, self.stream, args.share)

    def load(self, tensor):
        return choice.Matrix(self.model.read(tensor), tensor, self.norms.get(tensor.name))

    def stream(self):
        """All chosen tensors, one in memory at a time."""
        for one in tqdm(self.chosen.values(), desc="finding the threshold", unit="tensor",
                        disable=not sys.stderr.isatty()):
            yield self.load(one.tensor)

    def prune(self, tensor):
        """The tensor's bytes, pruned; None for a tensor that is not chosen."""
        if tensor.name not in self.chosen:
            return None
        matrix = self.load(tensor)
        share = self.chosen[tensor.name].share
        if self.args.pattern:
            count = choice.prune_groups(self.pool, matrix, *PATTERNS[self.args.pattern])
        elif self.args.scope == "row":
            count = choice.prune_rows(self.pool, matrix, share)
        elif self.args.scope == "tensor":
            cut = choice.find_cut(self.pool, lambda: [matrix], share)
            count, _ = choice.prune_below(self.pool, matrix, cut, 0)
        else:
            count, met = choice.prune_below(self.pool, matrix, self.cut, self.n_equal)
            self.n_equal += met
        self.counts[tensor.name] = count
        return matrix.raw


def write(model, chosen, norms, args):
    """Under another name first: what has the final name is complete."""
    part = args.output.with_name(f"{args.output.name}.{os.getpid()}.part")
    try:
        with choice.pool_of(args.threads) as pool:
            pruner = Pruner(model, chosen, norms, args, pool)
            with tqdm(total=model.size, desc=visible(args.output.name), unit="B", unit_scale=True,
                      disable=not sys.stderr.isatty()) as bar:
                def change(tensor):
                    changed = pruner.prune(tensor)
                    bar.update(tensor.n_bytes)
                    return changed
                model.write_copy(part, record(model, chosen, args), change)
        part.replace(args.output)
    except OSError as error:
        raise Fault(f"{part} cannot be written: {error.strerror or error}") from None
    finally:  # Stopped included: SIGTERM and SIGHUP leave nothing behind
        part.unlink(missing_ok=True)
    return pruner.counts


def describe(chosen, args):
    for one in chosen:
        how = args.pattern or (f"{one.share:.0%}" if one.share is not None else f"part of {args.share:.0%}")
        shape = " x ".join(map(str, one.tensor.shape))
        say(f"{visible(one.tensor.name):<32} {one.tensor.type.name:<6} {shape:<18} {how}")


def main():
    args = parse_arguments()
    check_output(args)
    model = Container(args.input)
    chosen = choose(model, args)
    norms = load_norms(chosen, args.imatrix)
    weights = sum(one.tensor.weights for one in chosen)
    check_expectation(model, chosen, args)
    if args.dry_run:
        describe(chosen, args)
        print(f"would prune {len(chosen)} of {len(model.tensors)} tensors with {weights} weights; nothing was written")
        return
    total = choice.add_counts(write(model, chosen, norms, args).values())
    say(f"{args.output}: {len(chosen)} of {len(model.tensors)} tensors pruned, zeros among their {total.weights} "
        f"weights: {total.zeros_before / total.weights:.2%} before, {total.zeros_after / total.weights:.2%} now")


if __name__ == "__main__":
    run("prune.py", main, Fault)
