"""GGUF files whose blocks are packed as they are."""

import gguf
import numpy as np
import pytest
import torch
import transformers

import sparamx
from sparamx import WeightType, load_packed, replace_linears, save_packed
from sparamx.blocks import Blocks, GgufRows
from sparamx.transformers import load_gguf

HIDDEN, INNER, HEADS, KV, VOCABULARY = 256, 512, 4, 2, 96
SHAPES = {"attn_q": (HIDDEN, HIDDEN), "attn_k": (KV * HIDDEN // HEADS, HIDDEN),
          "attn_v": (KV * HIDDEN // HEADS, HIDDEN), "attn_output": (HIDDEN, HIDDEN),
          "ffn_gate": (INNER, HIDDEN), "ffn_up": (INNER, HIDDEN),
          "ffn_down": (HIDDEN, INNER)}
# Where the half-precision scales of a block are: the rest of it may be any bytes.
SCALES = {"Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,), "Q2_K": (80, 82), "Q3_K": (108,),
          "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "IQ4_NL": (0,), "IQ4_XS": (0,)}
UNSERVED = {"IQ3_S": (0,)}


def blocks(name, n, k, random):
    """Random rows of a type, as its file layout has them."""
    if name in ("BF16", "F16"):
        return gguf.quantize(random.standard_normal((n, k), dtype=np.float32) / 16, gguf.GGMLQuantizationType[name])
    length, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    data = random.integers(0, 256, (n, k // length, size), dtype=np.uint8)
    for at in (SCALES | UNSERVED)[name]:
        scale = (random.random((n, k // length, 1)) * 2**-12).astype(np.float16)
        data[..., at:at + 2] = scale.view(np.uint8)
    return data.reshape(n, -1)


def write(path, of, embedding="Q8_0", share=0.0, layers=2):
    """A Llama whose matrices have the types that `of` gives for their names; returns the bytes of each."""
    random = np.random.default_rng(3)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(layers)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    written = {}

    def add(name, kind, shape):
        data = blocks(kind, *shape, random)
        if share:
            data = gguf.quantize(gguf.dequantize(data, gguf.GGMLQuantizationType[kind])
                                 * (random.random(shape) >= share), gguf.GGMLQuantizationType[kind])
        written[name] = data
        writer.add_tensor(name, data.view(np.float16) if kind == "F16" else data,
                          raw_dtype=gguf.GGMLQuantizationType[kind])

    add("token_embd.weight", embedding, (VOCABULARY, HIDDEN))
    for layer in range(layers):
        for name, shape in SHAPES.items():
            add(f"blk.{layer}.{name}.weight", of(name, layer), shape)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(HIDDEN, np.float32))
    writer.add_tensor("output_norm.weight", np.ones(HIDDEN, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return written


def dense(path, dtype=torch.bfloat16):
    return transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=dtype).eval()


@pytest.mark.parametrize("name", [*SCALES, "BF16", "F16"])
def test_every_type(name, tmp_path):
    """Blocks reach the library byte for byte, rows of rotated attention in the order of transformers."""
    path = tmp_path / "model.gguf"
    written = write(path, lambda *_: name, layers=1)
    model, plain = load_gguf(path, reference=True), dense(path)
    report = model.sparamx_report
    assert len(report.taken) == len(SHAPES) + 1
    for module in ("q", "k", "v", "o"):
        layer = model.model.layers[0].self_attn.get_submodule(f"{module}_proj")
        mine = written["blk.0.attn_" + ("output" if module == "o" else module) + ".weight"]
        kept = layer.packed.read().numpy()
        assert layer.weight_type.name == name and layer.source.startswith("blk.0.attn_")
        # The same rows, though in another order.
        assert sorted(map(bytes, kept)) == sorted(map(bytes, mine.view(np.uint8).reshape(kept.shape)))
        assert np.array_equal(kept, mine.view(np.uint8).reshape(kept.shape)) == (module in ("v", "o"))
    assert model.lm_head.weight_type == WeightType.Q8_0 and model.lm_head.source == "token_embd.weight"
    ordinary = plain.state_dict()
    assert all(torch.equal(value, ordinary[key]) for key, value in model.state_dict().items())
    inputs = torch.randint(0, VOCABULARY, (1, 5))
    with torch.no_grad():
        wanted, got = plain(inputs).logits.float(), model(inputs).logits.float()
    # Activations of quantized types are rounded to 8 bits.
    assert (got - wanted).norm() <= wanted.norm() * 2**-4
    assert "the blocks of blk.0.attn_q.weight" in str(report)


def test_mixed_types_and_zeros(tmp_path):
    """As llama.cpp mixes them; zeros are left out where the type has a code for them."""
    path = tmp_path / "model.gguf"
    write(path, lambda name, _: "Q6_K" if name in ("attn_v", "ffn_down") else "Q4_K")
    kinds = {row.name.rpartition(".")[2]: row.type for row in load_gguf(path, reference=True).sparamx_report.taken}
    assert kinds["v_proj"] == kinds["down_proj"] == "q6_k" and kinds["q_proj"] == "q4_k" and kinds["lm_head"] == "q8_0"
    write(path, lambda *_: "Q8_0", share=0.6)
    rows = load_gguf(path, reference=True).sparamx_report.taken
    assert all(row.form == "sparse" and 0.55 < row.zeros < 0.65 for row in rows)
    assert all(row.form == "dense" for row in load_gguf(path, form="dense", reference=True).sparamx_report.taken)


def test_types_that_the_library_does_not_serve(tmp_path):
    """Their numbers are packed in the model's type, and the table has the library's reason."""
    path = tmp_path / "model.gguf"
    write(path, lambda name, _: "IQ3_S" if name == "ffn_up" else "Q4_K", layers=1)
    model = load_gguf(path, reference=True)
    row, = (row for row in model.sparamx_report.taken if row.name.endswith("up_proj"))
    assert row.type == "bf16" and "blk.0.ffn_up.weight of the GGUF file: the library has no kernels" in row.reason
    ordinary = dense(path).state_dict()
    assert all(torch.equal(value, ordinary[key]) for key, value in model.state_dict().items())


def test_float32_and_forms_of_the_model(tmp_path):
    path = tmp_path / "model.gguf"
    write(path, lambda *_: "Q5_K")
    model = load_gguf(path, dtype=torch.float32, reference=True)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    ordinary = dense(path, torch.float32).state_dict()
    assert all(torch.equal(value, ordinary[key]) for key, value in model.state_dict().items())


def test_architectures_that_are_dequantized_in_16_bits(tmp_path):
    """Their weights are other numbers than the file's; in float32 they are found, and the model gets its type after."""
    path = tmp_path / "model.gguf"
    write(path, lambda *_: "Q4_K", layers=1)

    class Loader:
        @staticmethod
        def from_pretrained(folder, gguf_file, dtype, **_):
            model = dense(folder / gguf_file, dtype)
            if dtype != torch.float32:
                for parameter in model.parameters():
                    parameter.data *= 1 + 2**-7
            return model

    model = load_gguf(path, auto_class=Loader, reference=True)
    assert {row.type for row in model.sparamx_report.taken} == {"q4_k", "q8_0"}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    ordinary = dense(path).state_dict()
    assert all(torch.equal(value, ordinary[key]) for key, value in model.state_dict().items())
    with torch.no_grad():
        assert model(torch.arange(5).unsqueeze(0)).logits.dtype == torch.bfloat16


def test_a_model_that_was_changed(tmp_path):
    """Layers whose weights are no longer those of the file are packed as they are, and the table says so."""
    path = tmp_path / "model.gguf"
    write(path, lambda *_: "Q4_K")
    model = dense(path)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[7, 9] += 1
    changed = model.model.layers[0].mlp.up_proj.weight.clone()
    rows = {row.name: row for row in replace_linears(model, gguf=path, reference=True)}
    row = rows["model.layers.0.mlp.up_proj"]
    assert row.type == "bf16" and "no tensor with these weights" in row.reason
    assert rows["model.layers.1.mlp.up_proj"].type == "q4_k"
    assert torch.equal(model.model.layers[0].mlp.up_proj.dense_weight(), changed)


def test_joined_rows_and_equal_rows(tmp_path):
    """Rows of two tensors in one layer, and rows that occur more than once."""
    path = tmp_path / "model.gguf"
    written = write(path, lambda name, _: "Q6_K" if name == "ffn_down" else "Q4_K", layers=1)
    rows = GgufRows(path)

    def numbers(name, kind="Q4_K"):
        return torch.from_numpy(gguf.dequantize(written[f"blk.0.{name}.weight"], gguf.GGMLQuantizationType[kind]))

    joined = torch.cat((numbers("ffn_up")[:5], numbers("ffn_gate"), numbers("ffn_up")[2:3], numbers("ffn_up")[2:3]))
    found = rows.find(joined)
    assert isinstance(found, Blocks) and found.source == "blk.0.ffn_up.weight + blk.0.ffn_gate.weight"
    assert torch.equal(torch.from_numpy(gguf.dequantize(found.data.numpy(), gguf.GGMLQuantizationType.Q4_K)), joined)
    mixed = torch.cat((numbers("attn_q"), torch.from_numpy(gguf.dequantize(
        written["token_embd.weight"], gguf.GGMLQuantizationType.Q8_0))))
    assert "several types" in rows.find(mixed)
    assert "no tensor" in rows.find(torch.randn(3, 256)) and "no tensor" in rows.find(torch.randn(3, 31))


def test_equal_rows_of_other_bytes(tmp_path):
    """With a scale of zero all codes stand for zeros: each row is taken once."""
    data = blocks("Q4_0", 8, 64, np.random.default_rng(4)).reshape(8, 2, 18)
    data[..., :2] = 0
    writer = gguf.GGUFWriter(tmp_path / "zeros.gguf", "llama")
    writer.add_tensor("blk.0.ffn_up.weight", data.reshape(8, 36), raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = GgufRows(tmp_path / "zeros.gguf").find(torch.zeros(8, 64, dtype=torch.bfloat16))
    assert np.array_equal(found.data.numpy(), data.reshape(8, 36))


def test_copies_files_and_state_dicts(tmp_path):
    path = tmp_path / "model.gguf"
    write(path, lambda *_: "Q4_K")
    model = load_gguf(path, reference=True)
    save_packed(model, tmp_path / "packed")
    loaded, inputs = load_packed(dense(path), tmp_path / "packed"), torch.arange(10).reshape(1, 10)
    assert loaded.model.layers[0].mlp.up_proj.weight_type == WeightType.Q4_K
    with torch.no_grad():
        assert torch.equal(model(inputs).logits, loaded(inputs).logits)
    state = model.state_dict()
    model.load_state_dict(state)  # the same weights
    state["model.layers.0.mlp.up_proj.weight"] = state["model.layers.0.mlp.up_proj.weight"] + 1
    with pytest.raises(RuntimeError, match="cannot be brought into this type"):
        model.load_state_dict(state)


def test_bad_files(tmp_path):
    path = tmp_path / "model.gguf"
    write(path, lambda *_: "Q4_K")
    whole = path.read_bytes()
    model = torch.nn.Sequential(torch.nn.Linear(256, 8))
    for damage in (b"", b"GG", b"safetensors", whole[:20], whole[:300], whole[:len(whole) // 2],
                   whole[:8] + b"\xff" * 8 + whole[16:]):
        path.write_bytes(damage)
        with pytest.raises(ValueError, match=r"model\.gguf"):
            replace_linears(model, gguf=path, reference=True)
    with pytest.raises(FileNotFoundError):
        replace_linears(model, gguf=tmp_path / "none.gguf", reference=True)
    for architecture in ("gptj", "nothing-known"):
        writer = gguf.GGUFWriter(path, architecture)
        writer.add_tensor("token_embd.weight", np.ones((4, 8), np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with pytest.raises(ValueError, match=r"cannot make a model of .*model\.gguf"):
            load_gguf(path, reference=True)
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="prune"):
        replace_linears(model, gguf=path, prune=0.5, reference=True)
    assert not sparamx.explain(model).taken


def test_types_are_those_of_the_header():
    from conftest import ROOT
    lines = (ROOT / "include" / "sparamx.h").read_text().splitlines()
    found = {line.split("SPARAMX_TYPE_")[1].split(" =")[0]: int(line.split("= ")[1].split(",")[0].split(" ")[0])
             for line in lines if line.startswith("    SPARAMX_TYPE_") and "=" in line}
    assert {kind.name: kind.value for kind in WeightType} == {
        name: number for name, number in found.items() if name not in ("F32", "I32")}
