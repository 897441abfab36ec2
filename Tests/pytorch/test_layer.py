"""A layer as PyTorch sees it."""

import copy
import io
import pickle

import pytest
import torch
from conftest import pruned
from torch import nn

from sparamx import SparamxLinear, WeightType, replace_linears


def make(n=48, k=64, dtype=torch.bfloat16, bias=True, weight_type=WeightType.BF16):
    linear = nn.Linear(k, n, bias=bias, dtype=dtype)
    with torch.no_grad():
        linear.weight.copy_(pruned(n, k, dtype))
    return linear, SparamxLinear(linear.weight, linear.bias, weight_type)


@pytest.mark.parametrize("bias", (True, False))
def test_state_dict_bit_for_bit(bias):
    linear, layer = make(bias=bias)
    state = layer.state_dict()
    assert state.keys() == linear.state_dict().keys()
    assert all(torch.equal(value, linear.state_dict()[name]) for name, value in state.items())
    other = make(bias=bias)[1]
    x = torch.randn(3, 64, dtype=torch.bfloat16)
    with torch.no_grad():
        assert not torch.equal(other(x), layer(x))
        other.load_state_dict(state)
        assert torch.equal(other(x), layer(x))
        nn.Linear(64, 48, bias=bias).load_state_dict(state)


def test_state_dicts_that_do_not_fit():
    layer, state = make()[1], make(n=47)[0].state_dict()
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        layer.load_state_dict(state)
    with pytest.raises(RuntimeError, match="weight"):
        layer.load_state_dict({"bias": torch.zeros(48)})
    assert layer.load_state_dict({}, strict=False).missing_keys != ["_key"]


def test_copies_and_pickles():
    layer, x = make()[1], torch.randn(3, 64, dtype=torch.bfloat16)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), torch.load(file, weights_only=False)]
    wanted = layer(x)
    del layer
    for other in copies:
        assert torch.equal(other(x), wanted)
        assert torch.equal(torch.compile(other, backend="eager")(x), wanted)
    assert len({other.packed.key for other in copies}) == 3


def test_gradients_are_refused():
    layer, x = make()[1], torch.randn(3, 64, dtype=torch.bfloat16, requires_grad=True)
    y = layer(x)
    with pytest.raises(RuntimeError, match="autograd"):
        y.sum().backward()
    with torch.no_grad():
        assert torch.equal(layer(x), y)


def test_autocast():
    layer, x = make()[1], torch.randn(3, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16 and torch.equal(y, layer(x.to(torch.bfloat16)))


def test_compile():
    model = nn.Sequential(nn.Linear(64, 48), nn.GELU(), nn.Linear(48, 10)).to(torch.bfloat16)
    replace_linears(model, reference=True)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        for m in (1, 5):
            x = torch.randn(m, 64, dtype=torch.bfloat16)
            assert torch.equal(compiled(x), model(x))
    torch.library.opcheck(torch.ops.sparamx.linear.default,
                          (torch.randn(3, 64), model[0]._key, model[0].bias, 48), test_utils=("test_schema",
                                                                                              "test_faketensor"))


def test_what_it_shows():
    linear, layer = make()
    assert layer.weight.shape == linear.weight.shape and layer.weight.dtype == linear.weight.dtype
    assert layer.weight.device.type == "meta"
    assert "in_features=64, out_features=48, bias=True, weights=BF16" in repr(layer)
    assert layer.weight.numel() == 48 * 64 and layer.weight.dim() == 2 and layer.weight.is_floating_point()
    # Who reads the weight himself is told, and gets no made-up numbers.
    for use in (lambda w: nn.functional.linear(torch.randn(3, 64, dtype=torch.bfloat16), w), lambda w: w + 1,
                lambda w: w.cpu(), lambda w: torch.mm(torch.randn(3, 48, dtype=torch.bfloat16), w), lambda w: w[0]):
        with pytest.raises(RuntimeError, match="dense_weight"):
            use(layer.weight)
