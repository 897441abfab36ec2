"""The text: Python's own library, which every machine with Python has, split into training and held-out files."""

import hashlib
import runpy
import sysconfig
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

# Tests would be half of the text, and repeat themselves; tables of codes and of generated grammars are no language.
LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "encodings", "config"}
TOPICS = "pydoc_data/topics.py"  # the language reference, kept as strings of Python
HELD_OUT_FIRST, HELD_OUT_EVERY = 7, 40  # by sorted path: every 40th file of middling size is never trained on
HELD_OUT_SIZES = range(2_000, 40_000)
END_OF_TEXT = "<|endoftext|>"


def read(path):
    if path.as_posix().endswith(TOPICS):
        return "\n".join(runpy.run_path(str(path))["topics"].values())
    return path.read_text(encoding="utf-8", errors="ignore")


def load():
    """(training texts, held-out texts), each {name: text}."""
    library = Path(sysconfig.get_path("stdlib"))
    names = sorted(path.relative_to(library).as_posix() for path in library.rglob("*.py"))
    names = [name for name in names if not LEFT_OUT & set(Path(name).parts) and "_sysconfigdata" not in name]
    middling = [name for name in names if (library / name).stat().st_size in HELD_OUT_SIZES]
    held_out = set(middling[HELD_OUT_FIRST::HELD_OUT_EVERY])
    texts = {name: read(library / name) for name in names}
    texts = {name: text for name, text in texts.items() if text.strip()}
    return ({name: text for name, text in texts.items() if name not in held_out},
            {name: text for name, text in texts.items() if name in held_out})


def digest(texts):
    """Of names and texts: two machines with the same digest train on the same."""
    sha = hashlib.sha256()
    for name, text in texts.items():
        sha.update(f"{name}\0{text}\0".encode())
    return sha.hexdigest()


def train_tokenizer(texts, vocab):
    """Byte-level BPE with GPT-2's splitting, which llama.cpp knows as pre-tokenizer gpt-2. Every text can be
    spelled."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab, special_tokens=[END_OF_TEXT], show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(texts.values(), trainer)
    return tokenizer


def encode(tokenizer, texts):
    """All texts in one row of tokens, each ended by the end-of-text token."""
    end = tokenizer.token_to_id(END_OF_TEXT)
    pieces = [piece.ids + [end] for piece in tokenizer.encode_batch(list(texts.values()))]
    return np.concatenate([np.array(piece, dtype=np.int64) for piece in pieces])
