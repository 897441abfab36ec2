"""Wanda on the model in training: which weights go, by |w| times the norm of the input they meet, per output row.

The command for finished GGUF files is examples/prune/prune.py; here the mask is held through the retraining."""

import torch


@torch.no_grad()
def input_norms(model, batches):
    """{matrix: norm of each input element over all tokens}"""
    sums, hooks = {}, []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            def add(_, inputs, name=name + ".weight"):
                x = inputs[0].flatten(0, -2).float()
                sums[name] = sums.get(name, 0) + x.square().sum(0)
            hooks.append(module.register_forward_pre_hook(add))
    for batch in batches:
        model(batch)
    for hook in hooks:
        hook.remove()
    return {name: total.sqrt() for name, total in sums.items()}


@torch.no_grad()
def find_masks(model, share, norms):
    """{matrix: 1 where the weight stays}: in each output row exactly the given share of weights goes."""
    masks = {}
    for name, weight in model.matrices():
        n_zeros = round(share * weight.shape[1])
        smallest = (weight.abs() * norms[name]).argsort(dim=1)[:, :n_zeros]
        masks[name] = torch.ones_like(weight).scatter_(1, smallest, 0)
    return masks


@torch.no_grad()
def apply_masks(model, masks):
    for name, weight in model.matrices():
        if name in masks:
            weight.mul_(masks[name])
