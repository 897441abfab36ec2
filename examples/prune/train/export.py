"""A trained model as GGUF, as llama.cpp loads it: matrices in BF16, norms in F32, the tokenizer in the metadata."""

import json

import gguf
import numpy as np

from corpus import END_OF_TEXT


def add_shape(writer, shape):
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.embd)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ff)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_vocab_size(shape.vocab)


def add_tokenizer(writer, tokenizer):
    """tokenizers.Tokenizer, byte-level BPE. llama.cpp keeps the same byte-to-letter table, so tokens go as they are."""
    ids = tokenizer.get_vocab()
    tokens = sorted(ids, key=ids.get)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    end = ids[END_OF_TEXT]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if i == end else gguf.TokenType.NORMAL for i in range(len(tokens))])
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in merges])
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(False)


def export(path, model, tokenizer, name, record):
    """record: {key: value} about the training, kept in the file under sparamx.train."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(name)
    writer.add_license("MIT")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    add_shape(writer, model.shape)
    add_tokenizer(writer, tokenizer)
    for key, value in record.items():
        writer.add_string(f"sparamx.train.{key}", str(value))
    for tensor, weight in model.state_dict().items():
        # A mask times a negative weight is -0, which is another code than 0: to the library, a value like others.
        values = weight.detach().float().numpy() + np.float32(0)
        if values.ndim == 1:
            writer.add_tensor(tensor, values)
        else:
            raw = gguf.quantize(np.ascontiguousarray(values), gguf.GGMLQuantizationType.BF16)
            writer.add_tensor(tensor, raw, raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
