"""Bytes of weights, and which type a matrix gets."""

import gguf
import numpy as np
import pytest
import torch
from conftest import pruned

from sparamx.packed import WeightType
from sparamx.weights import choose, from_bytes, prune_, to_bytes

SPECIAL = torch.tensor([[0.0, -0.0, 1e-30, -1e30, 0.5, 127.5, -127.5, 1.5] * 8,
                        [1.0, -1.0] * 32, [0.0] * 64, [float(i) / 2 for i in range(-32, 32)]])


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")  # scales beyond float16
@pytest.mark.parametrize("weight_type, name", ((WeightType.Q8_0, "Q8_0"), (WeightType.Q4_0, "Q4_0")))
@pytest.mark.parametrize("share", (0.0, 0.5))
def test_quantized_as_ggml_does(weight_type, name, share):
    wanted_type = gguf.GGMLQuantizationType[name]
    for weight in (pruned(50, 256, torch.float32, share), SPECIAL):
        data = to_bytes(weight, weight_type)
        assert np.array_equal(data.numpy(), gguf.quants.quantize(weight.numpy(), wanted_type))
        assert np.array_equal(from_bytes(data, weight_type).numpy(), gguf.quants.dequantize(data.numpy(), wanted_type),
                              equal_nan=True)


@pytest.mark.parametrize("dtype, weight_type", ((torch.bfloat16, WeightType.BF16), (torch.float16, WeightType.F16)))
def test_every_pattern_of_16_bits(dtype, weight_type):
    every = torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16).view(dtype).reshape(64, 1024)
    back = from_bytes(to_bytes(every, weight_type), weight_type)
    assert torch.equal(back.view(torch.uint16), every.view(torch.uint16))


def test_choice():
    exact = torch.randn(4, 64).to(torch.float16)
    assert choose(exact, "auto")[0] == WeightType.F16
    assert choose(exact.to(torch.bfloat16), "auto")[0] == WeightType.BF16
    assert choose(exact.to(torch.bfloat16).float(), "auto")[0] == WeightType.BF16
    assert choose(exact.float(), "auto")[0] == WeightType.F16
    refused, why = choose(torch.randn(4, 64), "auto")
    assert refused is None and "round" in why
    assert choose(torch.randn(4, 64), "q4_0")[0] == WeightType.Q4_0
    for asked in ("q4_0", "q8_0"):
        refused, why = choose(torch.randn(4, 65), asked)
        assert refused is None and "multiple of 32" in why
    assert choose(torch.zeros(4, 64, dtype=torch.int8), "auto")[0] is None


def test_pruning():
    weight = torch.randn(5, 40)
    kept = weight.clone()
    prune_(weight, 0.25)
    assert ((weight == 0).sum(dim=1) == 10).all()
    assert torch.equal(weight[weight != 0], kept[weight != 0])
    for row, before in zip(weight, kept, strict=True):
        assert before[row == 0].abs().max() <= before[row != 0].abs().min()
    assert (prune_(torch.randn(3, 8), 1.0) == 0).all()
    assert torch.equal(prune_(kept.clone(), 0.0), kept)
