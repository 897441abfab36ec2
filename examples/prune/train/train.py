#!/usr/bin/env python3
"""Trains the repository's own small language model, prunes it, and retrains it with the mask held.

    train.py OUTDIR

Three phases, each from the weights of the one before: dense; 50% of attention's and feed-forward's weights pruned by
Wanda, retrained; 70% the same. Writes trained-dense.gguf, trained-50.gguf, trained-70.gguf (BF16), held-out.txt,
tokenizer.json and training.json (seed, steps, losses, digest of the text). Interrupted, it goes on at its last
checkpoint.

Needs the packages of requirements.txt and a C++ compiler (torch.compile), and under an hour on two idle cores with
AVX-512.
"""

import argparse
import csv
import json
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer

import corpus
import wanda
from export import export
from llama import Llama, Shape

SEED = 20261121
BATCH, LENGTH = 32, 256  # sequences and tokens per step
CHECKPOINT_EVERY = 30
CALIBRATION_STEPS = 16  # batches of training text for Wanda's norms
NORMS_SEED = 1_000_000  # batches beyond any step of training


@dataclass(frozen=True)
class Phase:
    name: str
    share: float  # of weights pruned
    steps: int
    rate: float  # learning rate at its highest
    warm_up: int
    decay_from: float  # the part of the steps after which the rate falls linearly to zero


PHASES = (
    Phase("dense", 0.0, 890, 5e-3, 50, 0.9),
    Phase("50", 0.5, 90, 2e-3, 10, 0.2),
    Phase("70", 0.7, 90, 2e-3, 10, 0.2),
)


def rate_at(phase, step):
    done = step / phase.steps
    return phase.rate * min(1.0, (step + 1) / phase.warm_up, (1 - done) / (1 - phase.decay_from))


def make_batch(tokens, phase_index, step):
    """Windows at random places. Seeded by the step: training that was interrupted sees what it would have seen."""
    generator = torch.Generator().manual_seed(SEED + (phase_index << 32) + step)
    starts = torch.randint(len(tokens) - LENGTH - 1, (BATCH,), generator=generator)
    return torch.stack([tokens[start:start + LENGTH + 1] for start in starts])


def make_optimizers(model, rate):
    """Muon for the matrices inside layers, AdamW for the embedding and the norms."""
    inner = [weight for _, weight in model.matrices()]
    chosen = set(map(id, inner))
    rest = [weight for weight in model.parameters() if id(weight) not in chosen]
    return [torch.optim.Muon(inner, lr=rate, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=rate, weight_decay=0.0, betas=(0.9, 0.95))]


@torch.no_grad()
def held_out_loss(model, tokens):
    """Mean over consecutive windows of the held-out text, in nats per token."""
    windows = tokens[: len(tokens) // LENGTH * LENGTH].view(-1, LENGTH)
    losses = [model.loss(part).item() * len(part) for part in windows.split(BATCH)]
    return sum(losses) / len(windows)


def run_phase(index, model, tokens, held_out, out):
    """Trains, from a checkpoint if there is one. Returns the mean loss of the last 50 steps, and the held-out loss
    when the model was just pruned (None for the dense phase)."""
    phase, checkpoint = PHASES[index], out / "checkpoint.pt"
    masks, first, recent, pruned_loss = {}, 0, [], None
    optimizers = make_optimizers(model, phase.rate)
    saved = torch.load(checkpoint) if checkpoint.exists() else None
    if saved and saved["phase"] == phase.name:
        first, masks, recent, pruned_loss = (saved[key] for key in ("step", "masks", "recent", "pruned_loss"))
        model.load_state_dict(saved["model"])
        for optimizer, state in zip(optimizers, saved["optimizers"]):
            optimizer.load_state_dict(state)
    elif phase.share > 0:
        batches = [make_batch(tokens, index, NORMS_SEED + i)[:, :-1] for i in range(CALIBRATION_STEPS)]
        masks = wanda.find_masks(model, phase.share, wanda.input_norms(model, batches))
        wanda.apply_masks(model, masks)
        pruned_loss = round(held_out_loss(model, held_out), 4)
        print(f"{phase.name}: pruned, held-out loss {pruned_loss} before retraining", flush=True)
    compiled = torch.compile(model.loss)
    begin = time.monotonic()
    with open(out / "log.csv", "a", newline="") as log:
        for step in range(first, phase.steps):
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate_at(phase, step)
            with torch.autocast("cpu", torch.bfloat16):
                loss = compiled(make_batch(tokens, index, step))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            wanda.apply_masks(model, masks)
            recent = (recent + [loss.item()])[-50:]
            if (step + 1) % 10 == 0:
                mean = sum(recent[-10:]) / len(recent[-10:])
                csv.writer(log).writerow([phase.name, step + 1, f"{mean:.4f}", f"{rate_at(phase, step):.2e}"])
                log.flush()
                print(f"{phase.name} {step + 1}/{phase.steps} loss {mean:.4f}, "
                      f"{(time.monotonic() - begin) / (step + 1 - first):.2f} s per step", flush=True)
            if (step + 1) % CHECKPOINT_EVERY == 0:
                state = {"phase": phase.name, "step": step + 1, "masks": masks, "recent": recent,
                         "pruned_loss": pruned_loss,
                         "model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers]}
                torch.save(state, out / "checkpoint.part")
                os.replace(out / "checkpoint.part", checkpoint)
    return sum(recent) / len(recent), pruned_loss


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUTDIR")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.manual_seed(SEED)

    shape = Shape()
    training, held_out = corpus.load()
    known = args.out / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(known)) if known.exists() else corpus.train_tokenizer(training, shape.vocab)
    tokenizer.save(str(known))
    (args.out / "held-out.txt").write_text("\n".join(held_out.values()), encoding="utf-8")
    tokens, held_tokens = (torch.from_numpy(corpus.encode(tokenizer, texts)) for texts in (training, held_out))
    model = Llama(shape)
    record = {"seed": SEED, "python": platform.python_version(), "torch": torch.__version__,
              "text": "Python's standard library, PSF licence", "text_sha256": corpus.digest(training),
              "training_bytes": sum(len(text.encode()) for text in training.values()), "training_tokens": len(tokens),
              "held_out_files": list(held_out), "held_out_tokens": len(held_tokens), "shape": asdict(shape),
              "parameters": sum(p.numel() for p in model.parameters()), "batch": BATCH, "length": LENGTH, "phases": []}
    print(json.dumps(record, indent=1), flush=True)

    for index, phase in enumerate(PHASES):
        done = args.out / f"phase-{phase.name}.pt"
        if done.exists():
            state = torch.load(done)
            model.load_state_dict(state["model"])
            record["phases"].append(state["record"])
            continue
        loss, pruned_loss = run_phase(index, model, tokens, held_tokens, args.out)
        facts = {**asdict(phase), "loss": round(loss, 4), "held_out_loss": round(held_out_loss(model, held_tokens), 4),
                 "held_out_loss_when_pruned": pruned_loss}
        record["phases"].append(facts)
        print(facts, flush=True)
        torch.save({"model": model.state_dict(), "record": facts}, done)
        about = {"phase": phase.name, "seed": SEED, "steps": phase.steps, "loss": facts["loss"], "text": record["text"],
                 "text_sha256": record["text_sha256"], "script": "examples/prune/train/train.py"}
        name = "libsparamx trained model, " + ("dense" if not phase.share else f"{phase.share:.0%} zeros")
        export(args.out / f"trained-{phase.name}.gguf", model, tokenizer, name, about)
    (args.out / "training.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
