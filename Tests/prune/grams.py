"""Files of Gram matrices, as the plugin writes them, for the tests: and the inputs that they are of."""

import numpy as np
from safetensors.numpy import save_file


def inputs(columns, tokens=600, seed=3):
    """Correlated, of very different sizes, and not centred: like those of a model."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((tokens, columns // 2)) @ rng.standard_normal((columns // 2, columns)) / columns**0.5
    x = mixed + 0.3 * rng.standard_normal((tokens, columns)) + 0.2 * rng.standard_normal(columns)
    return (x * np.exp(0.7 * rng.standard_normal(columns))).astype(np.float32)


def packed(x):
    gram = x.T.astype(np.float64) @ x
    return gram[np.tril_indices(len(gram))].astype(np.float32)


def write_grams(path, found, aliases={}, tokens=600, **metadata):
    """found: {name: inputs, or a list of them, one per expert (None: no token came to it)}."""
    tensors, more = {}, {"format": "sparamx-gram-1", "tokens": str(tokens), **metadata}
    for name, x in found.items():
        if isinstance(x, list):
            more.setdefault(f"{name}.experts", str(len(x)))
        each = [(f"{name}.{i}", part) for i, part in enumerate(x)] if isinstance(x, list) else [(name, x)]
        for stem, part in each:
            more[f"{stem}.count"] = str(0 if part is None else len(part))
            if part is not None:
                tensors[f"{stem}.gram"] = packed(part)
    more |= {f"{name}.same_as": other for name, other in aliases.items()}
    more |= {f"{name}.count": more[f"{other}.count"] for name, other in aliases.items()}
    save_file(tensors, path, metadata=more)
    return path
