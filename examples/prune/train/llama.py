"""The llama architecture in PyTorch, as llama.cpp computes it: RMS norm, rotary positions on neighbouring pairs,
grouped queries, SiLU-gated feed-forward, and the embedding used as output matrix too."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Shape:
    """All widths are multiples of 256, the block of K-quants: llama-quantize then keeps to the type it was asked
    for."""
    vocab: int = 2048
    embd: int = 256
    ff: int = 768
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    context: int = 512
    rope_base: float = 10000.0
    norm_eps: float = 1e-5

    @property
    def head(self):
        return self.embd // self.heads


class Norm(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape.embd))
        self.eps = shape.norm_eps

    def forward(self, x):
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


def rotary_table(shape):
    """Cosine and sine per position and pair of a head's elements."""
    frequency = shape.rope_base ** (-torch.arange(0, shape.head, 2) / shape.head)
    angle = torch.arange(shape.context)[:, None] * frequency
    return angle.cos(), angle.sin()


def rotate(x, table):
    """Turns each pair (2i, 2i+1) by its position's angle. Pairs are neighbours, as in GGUF files: nothing is permuted
    on the way there."""
    cos, sin = (part[: x.shape[-2]] for part in table)
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2).to(x.dtype)


class Layer(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        kv = shape.kv_heads * shape.head
        self.attn_norm, self.ffn_norm = Norm(shape), Norm(shape)
        self.attn_q = nn.Linear(shape.embd, shape.embd, bias=False)
        self.attn_k = nn.Linear(shape.embd, kv, bias=False)
        self.attn_v = nn.Linear(shape.embd, kv, bias=False)
        self.attn_output = nn.Linear(shape.embd, shape.embd, bias=False)
        self.ffn_gate = nn.Linear(shape.embd, shape.ff, bias=False)
        self.ffn_up = nn.Linear(shape.embd, shape.ff, bias=False)
        self.ffn_down = nn.Linear(shape.ff, shape.embd, bias=False)

    def forward(self, x, table):
        batch, length, _ = x.shape
        shape = self.shape

        def split(y, heads):
            return y.view(batch, length, heads, shape.head).transpose(1, 2)
        y = self.attn_norm(x)
        q = rotate(split(self.attn_q(y), shape.heads), table)
        k = rotate(split(self.attn_k(y), shape.kv_heads), table)
        v = split(self.attn_v(y), shape.kv_heads)
        repeat = shape.heads // shape.kv_heads  # query head i reads key head i / repeat
        k, v = (part.repeat_interleave(repeat, dim=1) for part in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_output(y.transpose(1, 2).reshape(batch, length, -1))
        y = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(y)) * self.ffn_up(y))


class Llama(nn.Module):
    """Names of modules are the names of tensors in a GGUF file: blk.0.attn_q.weight and so on."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocab, shape.embd)
        self.blk = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.output_norm = Norm(shape)
        cos, sin = rotary_table(shape)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        nn.init.normal_(self.token_embd.weight, std=0.02)
        for name, weight in self.matrices():
            residual = name.endswith(("attn_output.weight", "ffn_down.weight"))
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5 / ((2 * shape.layers) ** 0.5 if residual else 1))

    def matrices(self):
        """(name, parameter) of attention's and feed-forward's matrices: what is pruned."""
        return [(name, p) for name, p in self.named_parameters() if p.ndim == 2 and name.startswith("blk.")]

    def hidden(self, tokens):
        x = self.token_embd(tokens)
        for layer in self.blk:
            x = layer(x, (self.cos, self.sin))
        return self.output_norm(x)

    def forward(self, tokens):
        return F.linear(self.hidden(tokens), self.token_embd.weight)

    def loss(self, tokens):
        """Mean cross-entropy of each token but the first, in nats."""
        logits = self(tokens[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())
