"""train/retrain.py where it has to stop, without torch: what torch and transformers do there is written down here."""

import importlib
import math
import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from conftest import PRUNE


@pytest.fixture
def retrain(monkeypatch):
    monkeypatch.syspath_prepend(str(PRUNE / "train"))
    for name in ("torch", "torch.nn", "transformers"):
        monkeypatch.setitem(sys.modules, name, MagicMock())
    monkeypatch.delitem(sys.modules, "retrain", raising=False)
    yield importlib.import_module("retrain")
    sys.modules.pop("retrain", None)


@pytest.mark.parametrize("error", [AssertionError("Torch not compiled with CUDA enabled"), RuntimeError(),
                                   RuntimeError("Invalid device string: 'gpu'\nmore")], ids=repr)
def test_a_device_that_is_not_there(retrain, tmp_path, error):
    retrain.AutoModelForCausalLM.from_pretrained.return_value.to.side_effect = error
    with pytest.raises(SystemExit) as ended:
        retrain.load(tmp_path, "gpu")
    sentence = ended.value.code
    assert "cannot be put on the device gpu: " in sentence and "\n" not in sentence
    assert (str(error).split("\n")[0] or "RuntimeError") in sentence


@pytest.mark.parametrize("loss, norm, steps", [(math.nan, 1.0, 0), (math.inf, 1.0, 0), (2.0, math.nan, 0),
                                               (2.0, 1.0, 3)])
def test_no_step_is_made_with_what_is_no_number(retrain, monkeypatch, loss, norm, steps):
    optimizer = retrain.torch.optim.AdamW.return_value
    optimizer.param_groups = [{}]
    retrain.torch.nn.utils.clip_grad_norm_.return_value.item.return_value = norm
    found = MagicMock()
    found.item.return_value = loss
    monkeypatch.setattr(retrain, "loss_of", lambda *_: found)
    monkeypatch.setattr(retrain, "hold", lambda _: None)
    args = SimpleNamespace(rate=1e-3, steps=3, minutes=1, seed=1, batch=1)
    if steps:
        assert retrain.train(MagicMock(), None, MagicMock(), {}, args) == steps
    else:
        with pytest.raises(SystemExit, match="of step 1 is (nan|inf), and nothing was written: .*--rate"):
            retrain.train(MagicMock(), None, MagicMock(), {}, args)
    assert optimizer.step.call_count == steps
