#!/usr/bin/env python3
"""Trains a pruned Hugging Face model on with its zeros held: after each step what was zero is zero again.

    retrain.py PRUNED OUT --text TRAIN.txt --held-out HELD.txt --minutes 60
    retrain.py PRUNED OUT --text TRAIN.txt --teacher DENSE      learns the dense model's distribution, not the text

PRUNED and DENSE: folders that transformers can load, or GGUF files of an architecture that it can read (prune.py's).
OUT becomes a folder: llama.cpp's convert_hf_to_gguf.py makes a GGUF file of it again. On the CPU or, with --device
cuda, on one GPU. The mask of a matrix is where its weights are not zero; matrices without zeros are trained whole.
Stopped by Ctrl-C it writes what it has got. Needs the PyPI packages torch, transformers, accelerate, gguf and tqdm.
"""

import argparse
import math
import sys
import time
from pathlib import Path

try:
    import torch
    from torch.nn import functional
    from tqdm import tqdm
    from transformers import AutoModelForCausalLM, AutoTokenizer
except ImportError as error:
    sys.exit(f"retrain.py: the Python package {error.name} is missing: pip install torch transformers accelerate gguf "
             "tqdm")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="PRUNED")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--held-out", type=Path, help="text whose perplexity is told before and after")
    parser.add_argument("--teacher", type=Path, metavar="DENSE")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--steps", type=int, default=10**6, help="at most so many (default: as --minutes allow)")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=256, help="tokens of a sequence")
    parser.add_argument("--rate", type=float, default=5e-5, help="the highest learning rate; it falls as time passes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        parser.error(f"{args.out} exists already and is no empty folder")
    if min(args.minutes, args.steps, args.batch, args.length, args.rate) <= 0:
        parser.error("--minutes, --steps, --batch, --length and --rate are larger than 0")
    return args


def load(path, device):
    """(model, tokenizer)"""
    where = (path.parent, {"gguf_file": path.name}) if path.suffix == ".gguf" else (path, {})
    try:
        model = AutoModelForCausalLM.from_pretrained(where[0], dtype=torch.float32, **where[1])
        tokenizer = AutoTokenizer.from_pretrained(where[0], **where[1])
    except (OSError, ValueError, KeyError, ImportError) as error:
        sys.exit(f"retrain.py: {path} cannot be loaded: {first_line(error)}")
    # From a GGUF file all weights are float32 by now; the mark that they came from one would forbid writing them.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    try:
        return model.to(device), tokenizer
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch's own, by what the device lacks
        sys.exit(f"retrain.py: {path} cannot be put on the device {device}: {first_line(error)}")


def first_line(error):
    return (str(error).splitlines() or [type(error).__name__])[0]


def sequences(path, tokenizer, length):
    """The text's tokens, in rows of so many."""
    try:
        tokens = tokenizer(path.read_text(errors="replace"), return_tensors="pt").input_ids[0]
    except OSError as error:
        sys.exit(f"retrain.py: {path} cannot be read: {error.strerror}")
    if len(tokens) < length:
        sys.exit(f"retrain.py: {path} has {len(tokens)} tokens, fewer than one sequence of {length}")
    return tokens[:len(tokens) // length * length].reshape(-1, length)


def masks_of(model):
    """{parameter: 1 where it may have a value, 0 where it stays zero}; embeddings have no mask."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    found = {}
    for parameter in model.parameters():
        if parameter.dim() > 1 and id(parameter) not in tables:
            zero = parameter.detach() == 0
            if zero.any():
                found[parameter] = ~zero
    return found


@torch.no_grad()
def hold(masks):
    for parameter, mask in masks.items():
        parameter.mul_(mask).add_(0.0)  # -0 + 0.0 is 0


@torch.no_grad()
def perplexity(model, rows, batch):
    model.eval()
    total = sum(float(model(input_ids=part, labels=part).loss) * len(part) for part in rows.split(batch))
    model.train()
    return math.exp(total / len(rows)) if total / len(rows) < 700 else math.inf  # beyond it exp has no number


def loss_of(model, teacher, rows):
    if teacher is None:
        return model(input_ids=rows, labels=rows).loss
    with torch.no_grad():
        wanted = teacher(input_ids=rows).logits.log_softmax(-1).flatten(0, 1)
    found = model(input_ids=rows).logits.log_softmax(-1).flatten(0, 1)
    return functional.kl_div(found, wanted, log_target=True, reduction="batchmean")


def train(model, teacher, rows, masks, args):
    """Returns the steps made. The rate rises in a tenth of the time or of the steps, and then falls to zero."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, betas=(0.9, 0.95), weight_decay=0)
    order = torch.Generator().manual_seed(args.seed)
    begin, step = time.monotonic(), 0
    with tqdm(total=args.steps if args.steps < 10**6 else None, unit="step", disable=not sys.stderr.isatty()) as bar:
        try:
            while step < args.steps:
                past = max((time.monotonic() - begin) / (60 * args.minutes), step / args.steps)
                if past >= 1:
                    break
                for group in optimizer.param_groups:
                    group["lr"] = args.rate * min(1, (past + 0.005) / 0.1, (1 - past) / 0.9)
                chosen = torch.randint(len(rows), (args.batch,), generator=order)
                loss = loss_of(model, teacher, rows[chosen])
                loss.backward()
                norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                for what, value in (("loss", loss.item()), ("gradient", norm.item())):
                    if not math.isfinite(value):
                        sys.exit(f"retrain.py: the {what} of step {step + 1} is {value}, and nothing was written: give "
                                 "a smaller --rate, or look for weights of the models that are NaN or infinite")
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                hold(masks)
                step += 1
                bar.update()
                bar.set_postfix(loss=f"{loss.item():.4f}")
        except KeyboardInterrupt:
            hold(masks)
    return step


def main():
    args = parse_arguments()
    sys.stdout.reconfigure(line_buffering=True)  # an hour's run is followed in a file, too
    model, tokenizer = load(args.model, args.device)
    teacher = load(args.teacher, args.device)[0].eval() if args.teacher else None
    rows = sequences(args.text, tokenizer, args.length).to(args.device)
    held = args.held_out and sequences(args.held_out, tokenizer, args.length).to(args.device)
    masks = masks_of(model)
    if not masks:
        sys.exit(f"retrain.py: {args.model} has no matrix with zeros: prune it first")
    zeros = sum(int((~mask).sum()) for mask in masks.values())
    share = zeros / sum(mask.numel() for mask in masks.values())
    print(f"{len(masks)} matrices have {zeros} zeros, {share:.1%} of their weights")
    if args.held_out:
        print(f"perplexity of {args.held_out}: {perplexity(model, held, args.batch):.3f}")
    steps = train(model, teacher, rows, masks, args)
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        sys.exit("retrain.py: weights became NaN or infinite, and nothing was written: give a smaller --rate")
    print(f"{steps} steps with {steps * args.batch * args.length} tokens")
    if args.held_out:
        print(f"perplexity of {args.held_out}: {perplexity(model, held, args.batch):.3f}")
    assert all((parameter[~mask] == 0).all() for parameter, mask in masks.items())
    model.save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    print(f"{args.out}: with all its zeros")


if __name__ == "__main__":
    main()
