"""Files of Gram matrices, as the plugin for llama.cpp writes them with SPARAMX_COLLECT: safetensors, format 1.

For each matrix NAME of a model, X^T X of its inputs X, added up over all tokens: the lower triangle, row by row.
"""

import os
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from container import Fault

FORMAT = "sparamx-gram-1"


class Grams:
    """One such file, mapped: a matrix is read when it is asked for."""

    def __init__(self, path):
        self.path = Path(path)
        try:
            with open(self.path, "rb"):  # the package's own message says less
                pass
            self._file = safe_open(os.fspath(self.path), framework="numpy")
        except OSError as error:
            raise Fault(f"{path} cannot be read: {error.strerror or error}") from None
        except SafetensorError as error:
            raise Fault(f"{path} is no file of Gram matrices: {error}") from None
        self.metadata = self._file.metadata() or {}
        if self.metadata.get("format") != FORMAT:
            raise Fault(f"{path} is no file of Gram matrices: its format is not {FORMAT}")
        self.model = self.metadata.get("model", "")
        self.tokens = self._number("tokens")
        self.missing = self._number("missing", "0")  # matrices that a later pass over the text will add
        self._keys = set(self._file.keys())
        self._aliases = self._entries(".same_as")
        self._experts = {name: [] for name in self._entries(".experts")}  # {matrix: the experts that have sums}
        for key in self._keys:
            stem = key.removesuffix(".gram")
            if stem == key:
                raise Fault(f"{path} is no file of Gram matrices: it holds {key}")
            name, _, last = stem.rpartition(".")
            if name in self._experts and last.isdecimal():
                self._experts[name].append(int(last))
            else:
                self._experts[stem] = None
        for name, other in self._aliases.items():
            if other not in self._experts or name in self._experts:
                raise Fault(f"{path} says that {name} has the inputs of {other}, and has no sums for these")

    def _entries(self, suffix):
        return {key.removesuffix(suffix): value for key, value in self.metadata.items() if key.endswith(suffix)}

    def _number(self, key, default=None):
        text = self.metadata.get(key, default)
        if text is None or not text.isdecimal() or len(text) > 18:
            raise Fault(f"{self.path} is damaged: its entry {key} is no number")
        return int(text)

    def _find(self, name):
        name = self._aliases.get(name, name)
        if name not in self._experts:
            more = f"; {self.missing} matrices are to come: run the collecting command again" if self.missing else ""
            raise Fault(f"{self.path} has no sums for {name}{more}")
        return name

    def names(self):
        """All matrices, those that share their inputs with another one included, in alphabetical order."""
        return sorted({*self._experts, *self._aliases})

    def source(self, name):
        """The matrix under whose name the sums are kept: equal for matrices with the same inputs."""
        return self._find(name)

    def experts(self, name):
        """The experts that have seen tokens, in order; empty for an ordinary matrix."""
        return sorted(self._experts[self._find(name)] or [])

    def n_experts(self, name):
        """How many experts the matrix had when its sums were collected, those without tokens included."""
        return self._number(f"{self._find(name)}.experts")

    def count(self, name, expert=None):
        """Rows of X that were added up; 0 for an expert that no token came to."""
        stem = self._stem(name, expert)
        return self._number(f"{stem}.count", "0" if expert is not None else None)

    def columns(self, name):
        """K, the inputs of the matrix."""
        found = self._find(name)
        experts = self._experts[found]
        if experts == []:
            raise Fault(f"{self.path} has no token for any expert of {name}")
        stem = found if experts is None else f"{found}.{experts[0]}"
        (n,) = self._file.get_slice(f"{stem}.gram").get_shape()
        k = (int((8 * n + 1) ** 0.5) - 1) // 2
        for k in (k, k + 1):
            if k * (k + 1) // 2 == n:
                return k
        raise Fault(f"{self.path} is damaged: {stem} has {n} sums, which is no triangle")

    def gram(self, name, expert=None):
        """The full symmetric matrix in float32, (K, K); of zeros for an expert that no token came to."""
        k = self.columns(name)
        stem = self._stem(name, expert)
        if f"{stem}.gram" not in self._keys:
            return np.zeros((k, k), np.float32)
        packed = self._file.get_tensor(f"{stem}.gram")
        if packed.dtype != np.float32 or packed.shape != (k * (k + 1) // 2,):
            raise Fault(f"{self.path} is damaged: {stem} has {packed.dtype} of shape {packed.shape}")
        if not np.isfinite(packed).all():
            raise Fault(f"{self.path} is damaged: {stem} holds what is no number")
        full = np.empty((k, k), np.float32)
        at = 0
        for row in range(k):
            full[row, :row + 1] = packed[at:at + row + 1]
            full[:row, row] = packed[at:at + row]
            at += row + 1
        return full

    def _stem(self, name, expert):
        found = self._find(name)
        if (expert is None) != (self._experts[found] is None):
            kind = "a mixture of experts: name one" if expert is None else "no mixture of experts"
            raise Fault(f"{name} in {self.path} is {kind}")
        return found if expert is None else f"{found}.{expert}"
