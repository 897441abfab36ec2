#!/usr/bin/env python3
"""Prunes a GGUF model: writes a copy in which the least important weights of attention and feed-forward are zero.

    prune.py IN.gguf OUT.gguf --gram GRAMS --share 0.3         best: with the inputs that the plugin for llama.cpp
                                                               collected (SPARAMX_COLLECT); what stays is fitted anew
    prune.py IN.gguf OUT.gguf --imatrix IMATRIX --share 0.3    by Wanda's score: with the inputs llama-imatrix saw
    prune.py IN.gguf OUT.gguf --magnitude                      half of each row, by magnitude: ruins small models
    prune.py IN.gguf OUT.gguf --gram GRAMS --pattern 2:4       two of each four neighbours

The tensors keep their types; a pruned weight is the code that means zero there. K-quants cannot be pruned: prune the
F16 or BF16 file (llama-quantize --allow-requantize IN.gguf BF16.gguf BF16 makes one), then run llama-quantize, which
keeps zeros. Everything else in the file is carried over byte for byte, and a key sparamx.prune.N says what was done.
README.md: which models bear how much.

Needs the PyPI packages gguf, numpy and tqdm; with --gram also safetensors.
"""

import json
import os
import re
import sys
from collections import Counter
from dataclasses import dataclass

try:
    from tqdm import tqdm

    import calibrated
    import choice
    import expect
    import imatrix
    import options
    from codes import ADJUSTABLE, PRUNABLE
    from container import Container, Fault
    from options import PATTERNS
    from text import run, say, visible
except ImportError as error:
    sys.exit(f"prune.py: the Python package {error.name} is missing: pip install gguf numpy tqdm")

LAYER = re.compile(r"^blk\.(\d+)\.")
RECORD = "sparamx.prune."


@dataclass(frozen=True)
class Chosen:
    """A tensor that is pruned, and its share of zeros (None: the pattern's or the model's)."""
    tensor: object
    share: float | None


def check_output(args):
    if not args.output.parent.is_dir():
        raise Fault(f"the folder {args.output.parent} does not exist")
    if args.output.exists():
        for other in filter(None, (args.input, args.imatrix, args.gram, args.shares)):
            if other.exists() and args.output.samefile(other):
                raise Fault(f"{args.output} is an input of this command: it is never overwritten")
        if not args.force:
            raise Fault(f"{args.output} exists already: --force replaces it")


def choose(model, args):
    """(the tensors to prune, in the order of the file; the matrices that are left)."""
    shares = options.read_shares(args.shares)
    layers = sorted({int(found[1]) for found in (LAYER.match(tensor.name) for tensor in model.tensors) if found})
    chosen, left, unknown = [], [], []
    for tensor in model.tensors:
        if len(tensor.shape) < 2 or tensor.weights == 0:  # a bias or a norm is no matrix
            continue
        left.append(tensor)
        if not args.include.search(tensor.name) or (args.exclude and args.exclude.search(tensor.name)):
            continue
        own = next((own for expression, own in shares if expression.search(tensor.name)), None)
        if own == 0:
            continue
        if tensor.type not in PRUNABLE:
            unknown.append(tensor)
            continue
        share = own
        if own is None and not args.pattern and args.scope != "model":
            share = in_layer(tensor, layers, args)
        if args.pattern and tensor.columns % PATTERNS[args.pattern][1]:
            raise Fault(f"the rows of {tensor.name} have {tensor.columns} weights, which groups of {args.pattern} do "
                        "not divide")
        if args.gram and calibrated.changes_weights(args.method) and tensor.type not in ADJUSTABLE:
            raise Fault(f"{tensor.name} is {tensor.type_name}, whose weights can go but not take other values without "
                        "a large error: give --method swaps, or prune the BF16 model and quantize the result")
        chosen.append(Chosen(tensor, share))
        left.pop()
    if not chosen and unknown:
        raise Fault(f"{unknown[0].name} is {unknown[0].type_name}, which cannot be pruned without encoding it anew, "
                    "and no other matrix is chosen: prune the F16 or BF16 model (llama-quantize --allow-requantize "
                    "IN.gguf BF16.gguf BF16 makes one) and run llama-quantize on the result, which keeps zeros")
    if not chosen:
        raise Fault(f"no tensor of {args.input} is chosen: see --include and --exclude")
    return chosen, left


def in_layer(tensor, layers, args):
    """The share of --share and --progression."""
    found = LAYER.match(tensor.name)
    if not args.progression or not found or len(layers) < 2:
        return args.share
    share = args.share + args.progression * (2 * layers.index(int(found[1])) / (len(layers) - 1) - 1)
    if not 0 <= share < 1:
        raise Fault(f"a progression of {args.progression:g} about {args.share:g} gives {tensor.name} a share of "
                    f"{share:.2f}: shares lie from 0 to below 1")
    return share


def check_expectation(model, chosen, args):
    """Says what to expect; refuses to go on where nobody has said how weights are to be chosen."""
    weights = sum(one.tensor.weights for one in chosen)
    zeros = sum(one.tensor.weights * (0.5 if args.pattern else args.share if one.share is None else one.share)
                for one in chosen)
    share, in_all = zeros / weights, sum(tensor.weights for tensor in model.tensors)
    if share < expect.HARMLESS:
        return
    if not args.imatrix and not args.gram and not args.magnitude and not args.dry_run:
        raise Fault(expect.demand(in_all, share))
    say(f"{expect.sentence(in_all, share)}.")


def load_norms(chosen, path):
    """{tensor: input norms}, empty for magnitude."""
    if path is None:
        return {}
    means = imatrix.load(path)
    norms, without = {}, []
    for one in chosen:
        norms[one.tensor.name], missing = imatrix.norms(means, one.tensor, path)
        if missing:
            without.append(f"{one.tensor.name} ({missing})")
    if without:
        say(f"{path} has nothing but zeros for {listed(without)}: pruned by magnitude there.")
    return norms


def load_grams(chosen, args):
    """The Gram matrices, checked; None without --gram."""
    if not args.gram:
        return None
    try:
        from gram import Grams
    except ImportError as error:
        raise Fault(f"--gram needs the Python package {error.name}: pip install safetensors") from None
    source = calibrated.Source(Grams(args.gram))
    few, without = [], []
    for one in chosen:
        source.check(one.tensor)
        count = source.few_tokens(one.tensor)
        if count == 0:
            without.append(one.tensor.name)
        elif count is not None:
            few.append(f"{one.tensor.name} ({count})")
    if without:
        say(f"{args.gram} has no inputs at all for matrices of {listed(without)}: pruned by magnitude there.")
    if few:
        say(f"{args.gram} has fewer inputs than weights in a row for {listed(few)}: more text gives a better choice.")
    return source


def listed(names, n=3):
    """The first n names, and how many more there are."""
    more = f" and {len(names) - n} more" if len(names) > n else ""
    return ", ".join(names[:n]) + more


def record(model, chosen, args):
    """{key: text}: what is done, under a number that the file has not used."""
    number = next(i for i in range(1, 1 << 20) if f"{RECORD}{i}" not in model.fields)
    by_inputs = (args.imatrix or args.gram) and not args.magnitude
    what = {"tool": "libsparamx prune.py", "score": "wanda" if by_inputs else "magnitude",
            "imatrix": args.imatrix and args.imatrix.name, "include": args.include.pattern,
            "exclude": args.exclude and args.exclude.pattern}
    if args.gram:
        what |= {"gram": args.gram.name, "method": "+".join(args.method) or calibrated.SCORES}
    if args.pattern:
        what["pattern"] = args.pattern
    elif args.scope == "model":
        what |= {"scope": "model", "share": args.share}
    else:
        what |= {"scope": args.scope, "shares": {one.tensor.name: one.share for one in chosen}}
    return {f"{RECORD}{number}": json.dumps({**what, "tensors": len(chosen)}, separators=(",", ":"))}


class Pruner:
    """Prunes one tensor after the other; adds up what became of them."""

    def __init__(self, model, chosen, norms, source, args, pool):
        self.model, self.norms, self.source, self.args, self.pool = model, norms, source, args, pool
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
        group = PATTERNS.get(self.args.pattern)
        if self.source and (group or share):  # a share of 0 has no use for sums
            with tqdm(total=tensor.rows, desc=visible(tensor.name), unit=" rows", delay=2, leave=False,
                      disable=not sys.stderr.isatty()) as bar:
                count = calibrated.prune(matrix, self.source, self.args.method, share, group, self.args.magnitude,
                                         bar.update)
        elif group:
            count = choice.prune_groups(self.pool, matrix, *group)
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


def write(model, chosen, norms, source, args):
    """Under another name first: what has the final name is complete."""
    part = args.output.with_name(f"{args.output.name}.{os.getpid()}.part")
    try:
        with choice.pool_of(args.threads) as pool:
            pruner = Pruner(model, chosen, norms, source, args, pool)
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
        say(f"{visible(one.tensor.name):<32} {one.tensor.type_name:<6} {shape:<18} {how}")


def kinds(left):
    """The matrices that were left, counted by kind and type: "token_embd (BF16), attn_q (30 of Q4_K)"."""
    found = Counter((LAYER.sub("", tensor.name).removesuffix(".weight"), tensor.type_name) for tensor in left)
    return ", ".join(f"{kind} ({f'{count} of ' if count > 1 else ''}{name})" for (kind, name), count in found.items())


def tell(chosen, left, counts, args):
    total = choice.add_counts(counts.values())
    beside = f"; left as they are: {kinds(left)}" if left else ""
    say(f"{args.output}: {len(chosen)} of {len(chosen) + len(left)} matrices pruned, zeros among their {total.weights} "
        f"weights: {total.zeros_before / total.weights:.2%} before, {total.zeros_after / total.weights:.2%} "
        f"now{beside}")
    if total.negative:
        say(f"{total.negative} weights of {args.input} are -0, a code of its own that would be packed as a value: in "
            "the matrices pruned they are now the type's zero (--share 0 --include . does that alone, in "
            "all).")
    broken = [f"{name} ({count.broken})" for name, count in counts.items() if count.broken]
    if broken:
        say(f"{args.input} has weights that are NaN or infinite in {listed(broken)}: they were left, and the model "
            "is broken there.")


def main():
    args = options.parse(__doc__)
    check_output(args)
    model = Container(args.input)
    chosen, left = choose(model, args)
    norms, source = load_norms(chosen, args.imatrix), load_grams(chosen, args)
    weights = sum(one.tensor.weights for one in chosen)
    check_expectation(model, chosen, args)
    if args.dry_run:
        describe(chosen, args)
        beside = f"; would leave {kinds(left)}" if left else ""
        say(f"would prune {len(chosen)} of {len(chosen) + len(left)} matrices with {weights} weights{beside}; nothing "
            "was written")
        return
    tell(chosen, left, write(model, chosen, norms, source, args), args)


if __name__ == "__main__":
    run("prune.py", main, Fault)
