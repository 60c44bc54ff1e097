"""golden/gguf: GGUF files by gguf-py, and what gguf-py and transformers read in them.

- types.gguf: a tensor of random blocks for each packing, types.safetensors its values.
- <model>.gguf, <model>.json, <model>-io.safetensors: tiny models of every architecture, changed as llama.cpp's
  converter changes them; configuration, names and SHA-256 of the float32 values, inputs and logits.
- tokenizers/<name>.gguf (metadata alone) and <name>.json: texts and their tokens.
"""

import hashlib
import json
from pathlib import Path

import gguf
import numpy as np
import tokenizers
import torch
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from transformers.convert_slow_tokenizer import bytes_to_unicode

from common import fresh, generator, setup, write_json, write_tensors

FOLDER = "gguf"
VOCAB = 400
SIZES = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64)
FEW = dict(SIZES, vocab_size=64, bos_token_id=1, eos_token_id=2)  # for those without a tokenizer
TYPES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q6_K"]
QUANT = gguf.GGMLQuantizationType
TEMPLATE = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}"


def numpy_rng(name):
    return np.random.default_rng(generator(name).initial_seed())


def random_blocks(kind, blocks):
    """Random bits, but scales that are ordinary half-precision numbers."""
    rng = numpy_rng(f"gguf-{kind.name}")
    _, size = gguf.GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, (blocks, size), dtype=np.uint8)
    places = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q4_K": [0, 2], "Q6_K": [208]}[kind.name]
    for place in places:
        scale = (rng.standard_normal(blocks) * 0.05).astype(np.float16)
        scale[0], scale[-1] = 6e-8, -0.0  # a subnormal, and a zero with a sign
        raw[:, place:place + 2] = scale.view(np.uint8).reshape(blocks, 2)
    return raw


def write_types():
    writer = gguf.GGUFWriter(f"{FOLDER}/types.gguf", "none")
    writer.add_custom_alignment(64)
    writer.add_uint64("test.large", 2**63 + 1)
    writer.add_array("test.empty", [1])
    values = {}
    for name in TYPES:
        kind = QUANT[name]
        block, _ = gguf.GGML_QUANT_SIZES[kind]
        columns = max(block, 64)
        rows = 4
        if block == 1:
            data = (numpy_rng(f"gguf-{name}").standard_normal((rows, columns)) * 3).astype(np.float32)
            data[0, :6] = [0, -0.0, np.inf, -np.inf, 1e-7, 65504]
            packed = gguf.quantize(data, kind)
        else:
            packed = random_blocks(kind, rows * columns // block).reshape(rows, -1)
        writer.add_tensor(name.lower(), packed, raw_dtype=kind)
        values[name.lower()] = torch.from_numpy(gguf.dequantize(packed, kind).reshape(rows, columns).copy())
    finish(writer)
    write_tensors(f"{FOLDER}/types.safetensors", values)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# --- models ---------------------------------------------------------------------------------------------------------

def rope(theta):
    return {"rope_type": "default", "rope_theta": theta}


MODELS = {
    "llama": ("llama", transformers.LlamaForCausalLM,
              transformers.LlamaConfig(**SIZES, rms_norm_eps=1e-5, rope_parameters=rope(50000.0),
                                       tie_word_embeddings=True)),
    "llama-untied": ("llama", transformers.LlamaForCausalLM,
                     transformers.LlamaConfig(**SIZES, head_dim=16, rms_norm_eps=1e-6, rope_parameters=rope(10000.0),
                                              attention_bias=True, tie_word_embeddings=False)),
    "qwen2": ("qwen2", transformers.Qwen2ForCausalLM,
              transformers.Qwen2Config(**FEW, rope_parameters=rope(1e6), tie_word_embeddings=True)),
    "qwen3": ("qwen3", transformers.Qwen3ForCausalLM,
              transformers.Qwen3Config(**FEW, head_dim=16, rope_parameters=rope(1e6), tie_word_embeddings=False)),
    "gemma2": ("gemma2", transformers.Gemma2ForCausalLM,
               transformers.Gemma2Config(**FEW, head_dim=16, query_pre_attn_scalar=16, sliding_window=4,
                                         rope_parameters=rope(10000.0))),
    "gemma3": ("gemma3", transformers.Gemma3ForCausalLM,
               transformers.Gemma3TextConfig(**dict(FEW, num_hidden_layers=6, intermediate_size=32), head_dim=16,
                                             query_pre_attn_scalar=16, sliding_window=4)),
    "phi3": ("phi3", transformers.Phi3ForCausalLM,
             transformers.Phi3Config(**FEW, original_max_position_embeddings=64, rope_parameters=rope(10000.0),
                                     pad_token_id=0, tie_word_embeddings=False)),
    "gpt2": ("gpt2", transformers.GPT2LMHeadModel,
             transformers.GPT2Config(vocab_size=64, bos_token_id=1, eos_token_id=2, n_embd=32, n_layer=2, n_head=4, n_positions=64, n_inner=96,
                                     layer_norm_epsilon=2e-5)),
}

# The keys that a GGUF file tells, or that llama.cpp takes for granted.
KEYS = {
    "decoder": ["model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                "num_attention_heads", "num_key_value_heads", "max_position_embeddings", "rms_norm_eps",
                "tie_word_embeddings"],
    "gpt2": ["model_type", "vocab_size", "n_embd", "n_layer", "n_head", "n_positions", "n_inner",
             "layer_norm_epsilon", "activation_function", "tie_word_embeddings"],
    "llama": ["head_dim", "attention_bias", "mlp_bias", "hidden_act"],
    "qwen2": ["hidden_act"],
    "qwen3": ["head_dim", "attention_bias", "hidden_act"],
    "gemma2": ["head_dim", "query_pre_attn_scalar", "sliding_window", "layer_types", "attn_logit_softcapping",
               "final_logit_softcapping", "hidden_activation", "attention_bias"],
    "gemma3": ["head_dim", "query_pre_attn_scalar", "sliding_window", "layer_types", "attn_logit_softcapping",
               "final_logit_softcapping", "hidden_activation", "attention_bias"],
    "phi3": ["hidden_act", "sliding_window", "original_max_position_embeddings"],
}


# What transformers' reader does not take from the file, though it is there, and then does without or guesses.
UNREAD = {"qwen3": {"head_dim": 16}, "gpt2": {"n_positions": 64, "n_inner": 96, "vocab_size": 64}}


def permuted(weights, heads):
    """Llama's queries and keys as llama.cpp has them."""
    size = weights.shape[0] // heads
    return weights.reshape(heads, 2, size // 2, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)


def changed(arch, config, name, data):
    if arch == "llama" and ".attn_q." in name:
        return permuted(data, config.num_attention_heads)
    if arch == "llama" and ".attn_k." in name:
        return permuted(data, config.num_key_value_heads)
    if arch in ("gemma2", "gemma3") and name.endswith("norm.weight"):
        return data + np.float32(1)
    if arch == "gpt2" and name.endswith((".attn_qkv.weight", ".attn_output.weight", ".ffn_up.weight",
                                         ".ffn_down.weight")):
        return np.ascontiguousarray(data.T)
    return data


def add_sizes(writer, arch, config):
    if arch == "gpt2":
        writer.add_context_length(config.n_positions)
        writer.add_embedding_length(config.n_embd)
        writer.add_feed_forward_length(config.n_inner)
        writer.add_block_count(config.n_layer)
        writer.add_head_count(config.n_head)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if arch in ("llama", "phi3"):
        writer.add_rope_dimension_count(head)
    if arch in ("qwen3", "gemma2", "gemma3"):
        writer.add_key_length(head)
        writer.add_value_length(head)
    if arch == "gemma3":
        writer.add_rope_freq_base(config.rope_parameters["full_attention"]["rope_theta"])
    elif arch != "gemma2":
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    if arch in ("gemma2", "gemma3"):
        writer.add_sliding_window(config.sliding_window)
    if arch == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if arch == "phi3":
        writer.add_sliding_window(config.sliding_window or 0)
        writer.add_rope_scaling_orig_ctx_len(config.original_max_position_embeddings)


def kind_of(name, data):
    """Every packing that fits such narrow rows, each somewhere."""
    if data.ndim < 2 or name.startswith("position"):
        return QUANT.F32
    if name.startswith("token_embd"):
        return QUANT.Q8_0
    if name.startswith("output"):
        return QUANT.F16
    return [QUANT.Q4_1, QUANT.Q4_0, QUANT.Q8_0, QUANT.BF16][sum(map(ord, name)) % 4]


@torch.no_grad()
def write_model(name, arch, kind, config):
    model = kind(config).eval()
    gen = generator(f"gguf-{name}")
    for key, param in sorted(model.named_parameters()):
        norm = "norm" in key or "ln_" in key
        noise = 0.2 * torch.randn(param.shape, generator=gen)
        param.copy_(1 + noise if norm and key.endswith("weight") and not arch.startswith("gemma") else noise)
    writer = gguf.GGUFWriter(f"{FOLDER}/{name}.gguf", arch)
    writer.add_name(f"tiny {name}")
    add_sizes(writer, arch, config)
    if name.startswith("llama"):
        vocabulary = byte_level("gpt-2") if name == "llama" else sentence_piece()
        add_tokenizer(writer, *vocabulary, None if name == "llama-untied" else "gpt-2")
        writer.add_chat_template(TEMPLATE)
    else:
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        if arch == "phi3":  # transformers would take a number beyond the vocabulary
            writer.add_pad_token_id(0)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[arch.upper()], config.num_hidden_layers)
    expected = {}
    for key, value in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        stored = names.get_name(key, try_suffixes=(".weight", ".bias"))
        data = changed(arch, config, stored, value.numpy())
        how = kind_of(stored, data)
        packed = gguf.quantize(np.ascontiguousarray(data), how)
        writer.add_tensor(stored, packed, raw_dtype=how)
        expected[key] = how.name
    finish(writer)

    loaded = transformers.AutoModelForCausalLM.from_pretrained(FOLDER, gguf_file=f"{name}.gguf", dtype=torch.float32,
                                                               **UNREAD.get(arch, {}))
    state = loaded.state_dict()
    told = loaded.config.to_dict()
    # transformers' reader leaves out what it has no key for (biases, head sizes); the weights are what it is asked for.
    for key in expected:
        if key not in state:
            tensor = next(t for t in gguf.GGUFReader(f"{FOLDER}/{name}.gguf").tensors
                          if t.name == names.get_name(key, try_suffixes=(".weight", ".bias")))
            values = gguf.dequantize(tensor.data, tensor.tensor_type)
            back = values
            if arch == "llama" and (".attn_q." in tensor.name or ".attn_k." in tensor.name):
                heads = config.num_attention_heads if ".attn_q." in tensor.name else config.num_key_value_heads
                size = values.shape[0] // heads
                back = values.reshape(heads, size // 2, 2, *values.shape[1:]).swapaxes(2, 1).reshape(values.shape)
            state[key] = torch.from_numpy(np.copy(back))
    for key in expected:
        worst = (state[key] - model.state_dict()[key]).abs().max().item()
        assert worst < 0.15, (name, key, worst)  # the packing's error, no other order or sign
    model.load_state_dict({k: v for k, v in state.items() if k in model.state_dict()}, strict=False)
    ids = torch.randint(5, 64, (1, 7), generator=gen)
    write_tensors(f"{FOLDER}/{name}-io.safetensors", {"input_ids": ids, "logits": model(ids).logits})
    original = config.to_dict()
    config_keys = KEYS["gpt2"] if arch == "gpt2" else KEYS["decoder"] + KEYS[arch]
    wanted = {key: original[key] for key in config_keys}
    for key in wanted:
        if key in told and key not in ("head_dim", "attention_bias"):
            same = told[key] == wanted[key] or (isinstance(told[key], float) and abs(told[key] - wanted[key]) < 1e-9)
            if not same:
                print(f"{name}: transformers reads {key} as {told[key]}, it was {wanted[key]}")
    if arch == "gemma3":
        wanted["rope_theta"] = original["rope_parameters"]["full_attention"]["rope_theta"]
        wanted["rope_local_base_freq"] = original["rope_parameters"]["sliding_attention"]["rope_theta"]
    elif arch not in ("gpt2", "gemma2"):
        wanted["rope_theta"] = original["rope_parameters"]["rope_theta"]
    write_json(f"{FOLDER}/{name}.json", {
        "config": wanted,
        "tensors": {key: {"shape": list(state[key].shape),
                          "sha256": hashlib.sha256(state[key].contiguous().numpy().tobytes()).hexdigest()}
                    for key in sorted(expected)}})


# --- tokenizers -----------------------------------------------------------------------------------------------------

CORPUS = ["the quick brown fox jumps over the lazy dog. It's what they're saying, don't you think?",
          "def f(x):\n    return x + 1\n\nfor i in range(10):\n    print(f(i))\n",
          "1 2 3 10 12 100 123 2024 3.14 1,000", "HTTP JSON Hello World HELLO camelCase THEY'RE",
          "naïve café Müller straße", "привет мир", "日本 日本語", "   spaces    and\ttabs\n\n\n"] * 3

TEXTS = ["", " ", "Hello world", "  two leading", "trailing  ", "It's they're DON'T I'll", "x=1+23*456-7890",
         "1234567 12 1", "a  1\n\n2\n 3\t4", "def f(x):\n    return x\n", "\r\nwindows\r\n\r\nlines", "tabs\t\there",
         "naïve café cafe\u0301 Å A\u030a", "привет, мир!", "日本語テキスト", "😀 emoji 👩‍👧 \U0001d538",
         "<s>text</s>", "a<|im_end|>b <|im_end|> c", "<tool>call</tool>", "<unk> <pad>", "½ ² Ⅷ ٣", "...!!!???",
         "camelCase HTTPServer JSONParser", "\u00a0nbsp\u3000wide", "▁mark ▁▁two", "   \n  \n x", "\u0000\u0007",
         "the the the", "http://example.com/a?b=1", "[INST] hi [/INST]", "'s 'S 'll 'LL"]

GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False)


def split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def pre_tokenizer(pre):
    """The rule of a name as the models' own tokenizer.json has it."""
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS
    if pre == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2])
    return split(GGUF_PRE_TOKENIZER_SPLITS[pre]) if pre in GGUF_PRE_TOKENIZER_SPLITS else GPT2


def byte_level(pre):
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer(pre)
    alphabet = sorted(bytes_to_unicode().values())
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=390, initial_alphabet=alphabet,
                                                              show_progress=False))
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    special = ["<s>", "</s>", "<|im_end|>", "<pad>"]
    user = ["<tool>", "</tool>"]
    types = [1] * len(tokens) + [3] * len(special) + [4] * len(user)
    extra = {"bos": len(tokens), "eos": len(tokens) + 2, "pad": len(tokens) + 3}
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    return "gpt2", tokens + special + user, types, extra, merges, None


def sentence_piece(gemma=False):
    """As SentencePiece orders them: control tokens, bytes, merged pieces from the best on, then characters."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=125, show_progress=False))
    vocab = tokenizer.get_vocab()
    ordered = sorted(vocab, key=vocab.get)
    if gemma:
        ordered = [piece for piece in ordered if piece not in ("▁▁", "\n\n")]  # are there as user-defined ones
    pieces = [p for p in ordered if len(p) > 1] + [p for p in ordered if len(p) == 1]
    control = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"] if gemma else ["<unk>", "<s>", "</s>"]
    kinds = [3, 3, 3, 2, 3] if gemma else [2, 3, 3]
    data = [f"<0x{i:02X}>" for i in range(256)]
    more, more_kinds = (["  ", "\n\n", "<tool>"], [4, 4, 4]) if gemma else (["<|im_end|>", "<tool>"], [3, 4])
    tokens = control + data + more + pieces
    types = kinds + [6] * 256 + more_kinds + [1] * len(pieces)
    scores = [0.0] * (len(tokens) - len(pieces)) + [-float(i) for i in range(len(pieces))]
    assert len(tokens) <= VOCAB, len(tokens)
    ids = {"bos": 2, "eos": 1, "unk": 3, "pad": 0} if gemma else {"bos": 1, "eos": 2, "unk": 0}
    return "llama", tokens, types, ids, None, scores


def add_tokenizer(writer, model, tokens, types, special, merges, scores, pre):
    writer.add_tokenizer_model(model)
    if pre:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if merges is not None:
        writer.add_token_merges(merges)
    if scores is not None:
        writer.add_token_scores(scores)
    for name, add in (("bos", writer.add_bos_token_id), ("eos", writer.add_eos_token_id),
                      ("unk", writer.add_unk_token_id), ("pad", writer.add_pad_token_id)):
        if name in special:
            add(special[name])


CASES = {
    **{pre: ("llama", lambda pre=pre: byte_level(pre), pre) for pre in
       ("gpt-2", "smollm", "llama-bpe")},
    # Not named tekken: a tekken.json beside it would be taken for another kind of tokenizer.
    "mistral-nemo": ("llama", lambda: byte_level("tekken"), "tekken"),
    "qwen2": ("qwen2", lambda: byte_level("qwen2"), "qwen2"),
    "gpt-4o": ("phi3", lambda: byte_level("gpt-4o"), "gpt-4o"),
    "sentencepiece": ("llama", sentence_piece, None),
    "phi3": ("phi3", sentence_piece, None),
    "gemma": ("gemma2", lambda: sentence_piece(True), None),
}


def write_tokenizer(name, arch, make, pre):
    writer = gguf.GGUFWriter(f"{FOLDER}/tokenizers/{name}.gguf", arch)
    kind, config = next((k, c) for a, k, c in MODELS.values() if a == arch)
    add_sizes(writer, arch, config)
    add_tokenizer(writer, *make(), pre)
    if name == "llama-bpe":
        writer.add_add_bos_token(True)
    finish(writer)
    tokenizer = transformers.AutoTokenizer.from_pretrained(f"{FOLDER}/tokenizers", gguf_file=f"{name}.gguf")
    if pre == "smollm":  # transformers has no rule for it and takes GPT-2's
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizer(pre)
    if pre == "qwen2":  # and leaves out the normalizer of Qwen's own file
        tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
    ids = [tokenizer(text)["input_ids"] for text in TEXTS]
    assert max(map(max, filter(None, ids))) < len(tokenizer)
    write_json(f"{FOLDER}/tokenizers/{name}.json",
               {"texts": [{"text": text, "ids": row, "decoded": tokenizer.decode(row, skip_special_tokens=True)}
                          for text, row in zip(TEXTS, ids)]})


def main():
    kept = Path(f"{FOLDER}/smollm2.json")  # needs a large file to be remade, see smollm2.py
    text = kept.read_text(encoding="utf-8") if kept.exists() else None
    fresh(FOLDER)
    Path(f"{FOLDER}/tokenizers").mkdir()
    if text is not None:
        kept.write_text(text, encoding="utf-8")
    write_types()
    for name, what in MODELS.items():
        write_model(name, *what)
    for name, what in CASES.items():
        write_tokenizer(name, *what)


if __name__ == "__main__":
    setup()
    main()
