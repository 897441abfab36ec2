"""Packed models on disk."""

import json

import pytest
import torch
from test_model import llama

import sparamx
from sparamx import SparamxError, load_packed, replace_linears, save_packed


@pytest.fixture
def packed(tmp_path):
    model = llama()
    replace_linears(model, reference=True, prune=0.5)
    save_packed(model, tmp_path / "packed")
    return model, tmp_path / "packed"


def same(one, other):
    inputs = torch.randint(0, 200, (2, 9))
    with torch.no_grad():
        return torch.equal(one(inputs).logits, other(inputs).logits)


@pytest.mark.parametrize("verify", (False, True))
def test_round_trip(packed, verify):
    model, folder = packed
    assert sorted(path.name for path in folder.iterdir()) == ["layers.json", "rest.pt", "weights.sparamx"]
    other = llama()
    assert not same(model, other)
    assert load_packed(other, folder, verify=verify) is other
    assert same(model, other)
    state = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in other.state_dict().items())
    save_packed(other, folder)  # over the file that it is mapped from
    assert same(model, other) and same(model, load_packed(llama(), folder))


def test_on_the_meta_device(packed):
    model, folder = packed
    other = llama()
    for parameter_owner in other.modules():
        for name, parameter in list(parameter_owner.named_parameters(recurse=False)):
            setattr(parameter_owner, name, torch.nn.Parameter(parameter.to("meta")))
    assert same(model, load_packed(other, folder))


def test_other_models(packed):
    _, folder = packed
    with pytest.raises(ValueError, match="another model"):
        load_packed(torch.nn.Sequential(torch.nn.Linear(3, 3)), folder)
    wide = llama()
    wide.lm_head = torch.nn.Linear(64, 201, bias=False)
    with pytest.raises(ValueError, match="another model"):
        load_packed(wide, folder)
    with pytest.raises(ValueError, match="no packed layer"):
        save_packed(llama(), folder)


def test_damage(packed):
    _, folder = packed
    path = folder / "weights.sparamx"
    whole = path.read_bytes()
    for damaged, verify in ((whole[:100], False), (whole[:-1], False), (b"", False), (b"GGUF" + whole[4:], False),
                            (whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:], True)):
        path.unlink()
        path.write_bytes(damaged)
        with pytest.raises(SparamxError, match="weights.sparamx|proj|lm_head"):
            load_packed(llama(), folder, verify=verify)
    path.unlink()
    with pytest.raises(SparamxError, match="weights.sparamx"):
        load_packed(llama(), folder)
    for text in ("", "{}", "[]", '{"format": 1}', json.dumps({"format": 99, "layers": {}}),
                 '{"format": 1, "layers": {"lm_head": 3}}', '{"format": 1, "layers": {"lm_head": {}}}',
                 '{"format": 1, "layers": {"lm_head": {"dtype": "eval", "bias": false, "transposed": false}}}'):
        (folder / "layers.json").write_text(text)
        with pytest.raises(ValueError, match=r"layers\.json|version"):
            load_packed(llama(), folder)


def test_a_failure_leaves_the_model(packed):
    """The rest is damaged, missing, of other names or shapes: nothing of the model has been replaced."""
    _, folder = packed
    rest = folder / "rest.pt"
    whole, state = rest.read_bytes(), torch.load(rest, weights_only=True)

    def write(change):
        changed = dict(state)
        change(changed)
        torch.save(changed, rest)

    for damage in (lambda: rest.write_bytes(whole[:len(whole) // 2]), lambda: rest.write_bytes(b""),
                   lambda: write(lambda s: s.pop("model.norm.weight")),
                   lambda: write(lambda s: s.update(other=torch.zeros(3))),
                   lambda: write(lambda s: s.update({"model.norm.weight": torch.zeros(3)})), rest.unlink):
        damage()
        model = llama()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with pytest.raises((ValueError, OSError), match="rest.pt|another model"):
            load_packed(model, folder)
        assert not sparamx.explain(model).taken
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_files_that_do_not_agree(packed):
    _, folder = packed
    path = folder / "layers.json"
    description = json.loads(path.read_text())
    description["layers"]["lm_head"]["bias"] = True
    path.write_text(json.dumps(description))
    with pytest.raises(ValueError, match="bias of lm_head"):
        load_packed(llama(), folder)


def test_refused_paths(packed, tmp_path):
    model, _ = packed
    (tmp_path / "weights.sparamx").mkdir()
    with pytest.raises(SparamxError, match="weights.sparamx"):
        save_packed(model, tmp_path)
    assert sparamx.explain(model).taken
