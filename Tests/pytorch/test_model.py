"""Whole models."""

import pytest
import torch
import transformers
from torch import nn
from torch.nn.utils import prune

import sparamx
from sparamx import SparamxLinear, replace_linears
from sparamx.transformers import SparamxConfig

SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}


def llama(tie=True):
    config = transformers.LlamaConfig(**SMALL, num_key_value_heads=2, vocab_size=200, tie_word_embeddings=tie)
    return transformers.LlamaForCausalLM(config).to(torch.bfloat16).eval()


def tokens(shape, vocabulary=100):
    return {"input_ids": torch.randint(0, vocabulary, shape)}


MODELS = {
    "llama": (llama, 15, tokens((2, 9))),
    "gpt2": (lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(
        n_embd=64, n_layer=2, n_head=2, vocab_size=100, bos_token_id=0, eos_token_id=0)), 9, tokens((2, 9))),
    "bert": (lambda: transformers.BertModel(transformers.BertConfig(**SMALL, vocab_size=100)), 13, tokens((2, 9))),
    "vit": (lambda: transformers.ViTForImageClassification(transformers.ViTConfig(
        **SMALL, image_size=32, patch_size=8)), 13, {"pixel_values": torch.randn(2, 3, 32, 32)}),
    "mixtral": (lambda: transformers.MixtralForCausalLM(transformers.MixtralConfig(
        **SMALL, num_key_value_heads=2, vocab_size=100, num_local_experts=4)), 9, tokens((2, 9))),
}


@pytest.mark.parametrize("name", MODELS)
def test_models(name):
    """The same results to within the rounding of bfloat16, and every matrix in the table."""
    make, taken, inputs = MODELS[name]
    model = make().to(torch.bfloat16).eval()
    inputs = {key: value.to(torch.bfloat16) if value.is_floating_point() else value for key, value in inputs.items()}
    matrices = {key.removesuffix(".weight") for key, value in model.named_parameters() if value.dim() >= 2}
    with torch.no_grad():
        before = model(**inputs)[0].float()
        report = replace_linears(model, reference=True)
        after = model(**inputs)[0].float()
    assert len(report.taken) == taken
    assert {row.name for row in report} >= matrices and all(row.reason for row in report)
    assert all("experts" in row.reason for row in report if len(row.shape) == 3) or name == "vit"
    assert (after - before).abs().max() <= before.abs().max() * 2**-6
    assert str(report).splitlines()[-1].startswith(f"{taken} of {len(report)} are packed")


def test_tied_head():
    model = llama()
    embedding = model.model.embed_tokens.weight
    replace_linears(model, reference=True)
    assert isinstance(model.lm_head, SparamxLinear) and model.model.embed_tokens.weight is embedding
    assert torch.equal(model.state_dict()["lm_head.weight"], embedding)


def test_generation_and_saving(tmp_path):
    model, inputs = llama(tie=False), torch.randint(0, 200, (1, 9))
    model.generation_config.pad_token_id = 0
    model.save_pretrained(tmp_path)
    loaded = transformers.LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    packed = transformers.LlamaForCausalLM.from_pretrained(
        tmp_path, dtype=torch.bfloat16, quantization_config=SparamxConfig(reference=True, skip=["*.down_proj"]))
    assert len(packed.sparamx_report.taken) == 13 and isinstance(packed.model.layers[1].mlp.down_proj, nn.Linear)
    for model in (loaded, packed):
        model.generation_config.pad_token_id = 0
    texts = [model.generate(inputs, attention_mask=torch.ones_like(inputs), max_new_tokens=12, do_sample=False)
             for model in (loaded, packed)]
    assert torch.equal(*texts)
    packed.save_pretrained(tmp_path / "again")
    state = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "again", dtype=torch.bfloat16,
                                                          quantization_config=None).state_dict()
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())


def test_left_alone():
    class Owner(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(32, 2)
            self.lora = nn.Module()
            self.lora.base_layer = nn.Linear(32, 32)
            self.lora.lora_A = nn.Linear(32, 4)
            self.wide = nn.Linear(32, 32)
            self.odd = nn.Linear(33, 32)
            self.mine = nn.Linear(32, 32)

    model = Owner()
    with torch.no_grad():
        model.mine.weight.copy_(torch.randn(32, 32).to(torch.bfloat16))
    why = {row.name: (row.taken, row.reason) for row in replace_linears(model, reference=True)}
    assert why["mine"][0] and not why["wide"][0] and "round" in why["wide"][1]
    assert "LoRA" in why["lora.base_layer"][1] and "LoRA" in why["lora.lora_A"][1]
    assert "NonDynamicallyQuantizableLinear" in why["attention.out_proj"][1]
    why = {row.name: (row.taken, row.reason) for row in replace_linears(model, "q8_0", reference=True, skip=["wi*"])}
    assert "skipped" in why["wide"][1] and "multiple of 32" in why["odd"][1]
    x = torch.randn(3, 1, 32)
    model.attention(x, x, x)


def test_one_module_in_two_places():
    shared = nn.Linear(32, 32)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    report = replace_linears(model, "bf16", reference=True)
    assert len(report.taken) == 1 and model[0] is model[2] and isinstance(model[0], SparamxLinear)


def test_pruning_and_forms():
    for form, share in (("sparse", 0.0), ("dense", 0.7), ("auto", 0.7)):
        model = nn.Sequential(nn.Linear(256, 64))
        before = model[0].weight.detach().clone()
        row, = replace_linears(model, "bf16", prune=share, form=form, reference=True)
        assert row.form == ("dense" if form == "dense" else "sparse") and abs(row.zeros - share) < 0.01
        after = model[0].dense_weight()
        assert torch.equal(after[after != 0], before.to(torch.bfloat16).float()[after != 0])


def test_pruned_by_a_mask():
    """torch.nn.utils.prune multiplies: half of its zeros are negative, and all of them count."""
    model = nn.Sequential(nn.Linear(256, 64, dtype=torch.bfloat16))
    prune.l1_unstructured(model[0], "weight", amount=0.6)
    prune.remove(model[0], "weight")
    before = model[0].weight.detach().clone()
    assert torch.signbit(before[before == 0]).any()
    row, = replace_linears(model, reference=True)
    assert row.form == "sparse" and abs(row.zeros - 0.6) < 0.01
    assert torch.equal(model[0].dense_weight(), before)
    model.load_state_dict({"0.weight": before, "0.bias": torch.zeros(64)})
    assert abs(sparamx.explain(model).rows[0].zeros - 0.6) < 0.01


def test_bad_arguments():
    model = nn.Sequential(nn.Linear(32, 32))
    for arguments in ({"weights": "q3"}, {"prune": 1.5}, {"prune": -0.1}, {"form": "thin"}):
        with pytest.raises(ValueError, match="="):
            replace_linears(model, reference=True, **arguments)
    with pytest.raises(ValueError, match="q3"):
        SparamxConfig(weights="q3")
    assert isinstance(model[0], nn.Linear)


def test_without_avx512(monkeypatch):
    """One warning, and the model as it was."""
    found = sparamx.capability()
    without = type(found)(isa=0, avx512_reason=b"the CPU lacks AVX-512")
    monkeypatch.setattr("sparamx.model.capability", lambda: without)
    model = llama()
    with pytest.warns(UserWarning, match="leaves the model as it was: the CPU lacks AVX-512") as warnings:
        report = replace_linears(model)
    assert len(warnings) == 1 and not report.taken and isinstance(model.lm_head, nn.Linear)
