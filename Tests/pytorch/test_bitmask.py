"""Checkpoints with zeros: ordinary ones, and those that compressed-tensors wrote with a bitmap."""

import json

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from test_model import llama

from sparamx.bitmask import read_checkpoint
from sparamx.transformers import SparamxConfig, load_compressed


def zeroed(model, share=0.6, pattern=None):
    """Makes weights of the layers zero: a share of them, or two of four."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("_proj.weight"):
                if pattern == "2:4":
                    kept = torch.zeros(value.numel() // 4, 4).scatter_(
                        1, value.reshape(-1, 4).abs().float().topk(2, dim=1).indices, 1).reshape(value.shape)
                else:
                    kept = (torch.rand(value.shape) >= share).float()
                value.mul_(kept.to(value.dtype))
    return model


def compress(folder, form="sparse-bitmask", prefix_weight=False, **more):
    """Rewrites a saved model as compressed-tensors did up to its version 0.13."""
    state = load_file(folder / "model.safetensors")
    for name in [name for name in state if name.endswith("_proj.weight")]:
        value = state.pop(name)
        kept = value != 0
        values, counts = value[kept], kept.sum(dim=1)
        prefix = name if prefix_weight else name.removesuffix(".weight")
        state[f"{prefix}.shape"] = torch.tensor(value.shape)
        state[f"{prefix}.bitmask"] = torch.from_numpy(np.packbits(kept.numpy(), axis=-1, bitorder="little"))
        if form == "sparse-24-bitmask":
            state[f"{prefix}.shape"] = state[f"{prefix}.shape"].reshape(-1, 1)
            state[f"{prefix}.compressed"] = values.reshape(value.shape[0], -1)
        else:
            state[f"{prefix}.compressed"] = values
            state[f"{prefix}.row_offsets"] = counts.cumsum(0) - counts
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "compressed-tensors", "sparsity_config": {
        "format": form, "targets": ["Linear"], "ignore": []}} | more
    (folder / "config.json").write_text(json.dumps(config))
    return state


@pytest.fixture
def model(tmp_path):
    made = zeroed(llama(tie=False))
    made.save_pretrained(tmp_path)
    return made


def test_dense_files_with_zeros(model, tmp_path):
    packed = transformers.LlamaForCausalLM.from_pretrained(
        tmp_path, dtype=torch.bfloat16, quantization_config=SparamxConfig(reference=True))
    rows = {row.name: row for row in packed.sparamx_report.taken}
    assert all(row.form == "sparse" and 0.5 < row.zeros < 0.7 for name, row in rows.items() if "_proj" in name)
    assert rows["lm_head"].form == "dense"
    assert all(torch.equal(value, packed.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("prefix_weight", (False, True))
@pytest.mark.parametrize("tie", (False, True))
def test_bitmaps(prefix_weight, tie, tmp_path):
    model = zeroed(llama(tie))
    model.save_pretrained(tmp_path)
    compress(tmp_path, prefix_weight=prefix_weight)
    packed = load_compressed(tmp_path, reference=True)
    assert len(packed.sparamx_report.taken) == 15
    assert all(row.form == "sparse" for row in packed.sparamx_report.taken if row.name != "lm_head")
    assert all(torch.equal(value, packed.state_dict()[name]) for name, value in model.state_dict().items())
    inputs = torch.randint(0, 200, (2, 9))
    with torch.no_grad():
        wanted, got = model(inputs).logits, packed(inputs).logits
    assert (got - wanted).abs().max() <= wanted.abs().max() * 2**-6


def test_two_of_four(tmp_path):
    model = zeroed(llama(tie=False), pattern="2:4")
    model.save_pretrained(tmp_path)
    compress(tmp_path, "sparse-24-bitmask")
    packed = load_compressed(tmp_path, reference=True)
    assert all(torch.equal(value, packed.state_dict()[name]) for name, value in model.state_dict().items())


def test_ordinary_weights_under_a_compressed_name(model, tmp_path):
    """A sparse model that was saved dense: its configuration alone speaks of compressed-tensors."""
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "compressed-tensors"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    packed = load_compressed(tmp_path, reference=True)
    assert all(torch.equal(value, packed.state_dict()[name]) for name, value in model.state_dict().items())


def test_several_files(model, tmp_path):
    state = compress(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    names = sorted(state)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}  # the parts of a matrix are torn apart
    for file, mine in halves.items():
        save_file({name: state[name] for name in mine}, tmp_path / file)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(
        {"weight_map": {name: file for file, mine in halves.items() for name in mine}}))
    assert all(torch.equal(value, read_checkpoint(tmp_path)[name]) for name, value in model.state_dict().items())


def test_other_formats_are_refused(model, tmp_path):
    config = json.loads((tmp_path / "config.json").read_text())
    for about, word in (({"quant_method": "gptq"}, "gptq"), ([1], "does not say"),
                        ({"sparsity_config": {"format": "marlin-24"}}, "marlin-24"),
                        ({"sparsity_config": ["sparse-bitmask"]}, "does not say"),
                        ({"config_groups": {"group_0": {}}, "format": "pack-quantized"}, "pack-quantized")):
        (tmp_path / "config.json").write_text(json.dumps(config | {"quantization_config": about}))
        with pytest.raises(ValueError, match=word):
            load_compressed(tmp_path, reference=True)
    for text, word in (("", "no JSON"), ("[]", "no JSON object"),
                       (json.dumps(config | {"architectures": ["os"]}), "os"),
                       (json.dumps(config | {"architectures": None}), "names no model")):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ValueError, match=word):
            load_compressed(tmp_path, reference=True)


def test_damage(model, tmp_path):
    state = compress(tmp_path)
    prefix = "model.layers.1.mlp.up_proj"
    for part, change in (("bitmask", lambda v: v ^ 1), ("bitmask", lambda v: v[:-1]), ("bitmask", lambda v: v.int()),
                         ("compressed", lambda v: v[:-1]), ("compressed", lambda v: v.view(torch.int16)),
                         ("shape", lambda v: v - 1000), ("shape", lambda v: v[:1]), ("row_offsets", lambda v: v + 1),
                         ("shape", None), ("compressed", None)):
        damaged = dict(state)
        name = f"{prefix}.{part}"
        value = damaged.pop(name)
        if change is not None:
            damaged[name] = change(value).contiguous()
        save_file(damaged, tmp_path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ValueError, match=prefix):
            load_compressed(tmp_path, reference=True)
    damaged = dict(state)
    del damaged["model.norm.weight"]
    save_file(damaged, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"model\.norm\.weight"):
        load_compressed(tmp_path, reference=True)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:1000])
    with pytest.raises(ValueError, match="damaged"):
        load_compressed(tmp_path, reference=True)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(OSError, match="model"):
        load_compressed(tmp_path, reference=True)
