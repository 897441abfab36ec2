"""What pruning costs, as measured on models of about that size: so that nobody ruins a model without being told."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """Perplexities at 50% of each row, dense and pruned; with an imatrix where that was measured."""
    name: str
    weights: float
    dense: float
    magnitude: float
    imatrix: float | None = None


# The first two: with this program. The others: the Wanda repository, see README.md.
MODELS = (Measured("SmolLM2 135M", 135e6, 14, 211), Measured("Gemma 3 270M", 270e6, 15.5, 2871),
          Measured("LLaMA-2 7B", 6.7e9, 5.12, 14.89, 6.42), Measured("LLaMA-2 13B", 13e9, 4.57, 6.37, 5.56),
          Measured("LLaMA-2 70B", 69e9, 3.12, 4.98, 3.98))
HARMLESS = 0.1  # below this share even small models lose little


def nearest(weights):
    return min(MODELS, key=lambda model: abs(math.log(max(weights, 1) / model.weights)))


def amount(weights):
    if weights >= 1e9:
        return f"{weights / 1e9:.1f} billion"
    return f"{weights / 1e6:.0f} million" if weights >= 1e6 else str(weights)


def sentence(weights, share, with_imatrix):
    """weights: of the whole model; share: of the weights that are chosen."""
    model = nearest(weights)
    costs = f"from {model.dense:g} to {model.magnitude:g} by magnitude"
    if model.imatrix:
        costs += f", to {model.imatrix:g} with an imatrix"
    elif with_imatrix:
        costs += "; an imatrix helps, but so small a model has to be trained again to get well"
    more = "as there" if share <= 0.55 else "more than there, which costs far more"
    side = "less than there" if share < 0.45 else more
    return (f"This model has {amount(weights)} weights; of the models measured, {model.name} is nearest: at 50% its "
            f"perplexity went {costs}. Here it is {share:.0%}, {side}")


def demand(weights, share):
    """Why --imatrix or --magnitude must be given."""
    return (f"{sentence(weights, share, False)}. Without an imatrix the weights are chosen by their size alone: make "
            "one with llama-imatrix -m IN.gguf -f TEXT -o imatrix.gguf and give --imatrix imatrix.gguf, or say "
            "--magnitude if this is what you want")
