"""What pruning costs, as measured on models of about that size: so that nobody ruins a model without being told."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """Perplexities at 50% of each row, dense and pruned, as far as they were measured: by magnitude, with an imatrix
    (Wanda), and with Gram matrices."""
    name: str
    weights: float
    dense: float
    magnitude: float | None
    imatrix: float
    gram: float | None = None


# The first two: with this program, see README.md; the others as published, see there too.
MODELS = (Measured("SmolLM2 135M", 135e6, 27.6, 376, 61.6, 39.5),
          Measured("Gemma 3 270M", 270e6, 24.3, None, 51.2, 33.2), Measured("LLaMA-2 7B", 6.7e9, 5.12, 14.89, 6.42),
          Measured("Llama-3.1 8B", 8e9, 5.85, 37.8, 9.0),
          Measured("LLaMA-2 13B", 13e9, 4.57, 6.37, 5.56), Measured("LLaMA-2 70B", 69e9, 3.12, 4.98, 3.98))
HARMLESS = 0.1  # below this share even small models lose little


def nearest(weights):
    return min(MODELS, key=lambda model: abs(math.log(max(weights, 1) / model.weights)))


def amount(weights):
    if weights >= 1e9:
        return f"{weights / 1e9:.1f} billion"
    return f"{weights / 1e6:.0f} million" if weights >= 1e6 else str(weights)


def sentence(weights, share):
    """weights: of the whole model; share: of the weights that are chosen."""
    model = nearest(weights)
    found = ((model.magnitude, "by magnitude"), (model.imatrix, "with an imatrix"), (model.gram, "with Gram matrices"))
    to = [f"to {value:g} {how}" for value, how in found if value]
    costs = f"from {model.dense:g} {', '.join(to)}"
    more = "as there" if share <= 0.55 else "more than there, which costs far more"
    side = "less than there" if share < 0.45 else more
    return (f"This model has {amount(weights)} weights; of the models measured, {model.name} is nearest: at 50% its "
            f"perplexity went {costs}. Here it is {share:.0%}, {side}")


def demand(weights, share):
    """Why --imatrix or --magnitude must be given."""
    return (f"{sentence(weights, share)}. Without knowing its inputs the weights are chosen by their size alone: "
            "collect Gram matrices with the plugin and give --gram FILE (README.md), or make an imatrix with "
            "llama-imatrix -m IN.gguf -f TEXT -o imatrix.gguf and give --imatrix imatrix.gguf, or say --magnitude if "
            "this is what you want")
