"""The decoders among golden/models: each family, and each option that changes the arithmetic of one."""

import torch
import transformers

from common import inputs, load_base, write_tensors

TINY = dict(vocab_size=48, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=24, max_position_embeddings=64, rms_norm_eps=1e-5, pad_token_id=0, bos_token_id=1,
            eos_token_id=2, tie_word_embeddings=False)
# A frequency is kept, one mixed, and one divided (yarn, llama3) only if heads have a few and the context is short.
ROPE = dict(TINY, head_dim=16, num_hidden_layers=2)
GEMMA = dict(TINY, head_dim=6, tie_word_embeddings=True, num_hidden_layers=3, sliding_window=4,
             query_pre_attn_scalar=9)


def llama(**more):
    return transformers.LlamaForCausalLM, transformers.LlamaConfig(**{**TINY, **more}), {}


def rope(**parameters):
    return transformers.LlamaForCausalLM, transformers.LlamaConfig(**ROPE, rope_parameters=parameters), {}


def mistral(**more):
    return transformers.MistralForCausalLM, transformers.MistralConfig(**{**TINY, **more}), {}


def qwen2(kind=transformers.Qwen2ForCausalLM, **more):
    return kind, transformers.Qwen2Config(**{**TINY, **more}), {}


def qwen3(**more):
    return transformers.Qwen3ForCausalLM, transformers.Qwen3Config(**{**TINY, "head_dim": 6, **more}), {}


def phi3(kind=transformers.Phi3ForCausalLM, **more):
    return kind, transformers.Phi3Config(**{**TINY, **more}), {}


def gemma2(kind=transformers.Gemma2ForCausalLM, **more):
    # eager is the default of this family: sdpa would drop the bound of scores.
    config = transformers.Gemma2Config(**{**GEMMA, **more}, attn_implementation="eager")
    return kind, config, {}


def gemma3(kind=transformers.Gemma3ForCausalLM, **more):
    return kind, transformers.Gemma3TextConfig(**{**GEMMA, "sliding_window_pattern": 2, **more}), {}


def gpt2(kind=transformers.GPT2LMHeadModel, **more):
    config = transformers.GPT2Config(**{**dict(vocab_size=48, n_embd=16, n_layer=2, n_head=4, n_positions=64,
                                               attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0, pad_token_id=0,
                                               bos_token_id=1, eos_token_id=2), **more})
    return kind, config, {}


LONG = dict(rope_type="longrope", short_factor=[1.0, 1.5], long_factor=[2.0, 5.0])

MODELS = {
    "llama-gelu": llama(hidden_act="gelu", attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "llama-classifier": (transformers.LlamaForSequenceClassification, transformers.LlamaConfig(**TINY, num_labels=3),
                         {}),
    "llama-base": (transformers.LlamaModel, transformers.LlamaConfig(**TINY), {}),
    "llama-linear": rope(rope_type="linear", factor=2.5, rope_theta=5000.0),
    # 11 tokens are more than this was trained for, and 7 or fewer are not.
    "llama-dynamic": (transformers.LlamaForCausalLM,
                      transformers.LlamaConfig(**dict(ROPE, max_position_embeddings=8),
                                               rope_parameters=dict(rope_type="dynamic", factor=3.0,
                                                                    rope_theta=10000.0)), {}),
    "llama-yarn": rope(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, rope_theta=100.0,
                       beta_fast=2.0, beta_slow=0.2),
    "llama-yarn-mscale": rope(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, rope_theta=100.0,
                              beta_fast=2.0, beta_slow=0.2, mscale=1.5, mscale_all_dim=0.7, truncate=False),
    "llama-llama3": rope(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                         original_max_position_embeddings=32, rope_theta=100.0),
    "mistral": mistral(sliding_window=4),
    "mistral-nowindow": mistral(sliding_window=None, head_dim=8, hidden_act="gelu_new"),
    "mistral-classifier": (transformers.MistralForSequenceClassification,
                           transformers.MistralConfig(**TINY, sliding_window=4, num_labels=3), {}),
    "qwen2": qwen2(tie_word_embeddings=True),
    "qwen2-window": qwen2(use_sliding_window=True, sliding_window=3, max_window_layers=1),
    "qwen2-classifier": qwen2(transformers.Qwen2ForSequenceClassification, num_labels=3),
    "qwen3": qwen3(tie_word_embeddings=True),
    "qwen3-window": qwen3(use_sliding_window=True, sliding_window=3, attention_bias=True,
                          layer_types=["sliding_attention", "full_attention"]),
    "phi3": phi3(sliding_window=5),
    "phi3-partial": phi3(num_attention_heads=2, partial_rotary_factor=0.75),
    # 11 tokens take the long factors.
    "phi3-longrope": phi3(original_max_position_embeddings=8, rope_parameters=dict(LONG)),
    "phi3-short": phi3(original_max_position_embeddings=32, rope_parameters=dict(LONG)),
    "gemma2": gemma2(attn_logit_softcapping=2.0, final_logit_softcapping=3.0),
    "gemma2-unbounded": gemma2(attn_logit_softcapping=None, final_logit_softcapping=None, attention_bias=True,
                               tie_word_embeddings=False),
    "gemma2-classifier": gemma2(transformers.Gemma2ForSequenceClassification, num_labels=3,
                                attn_logit_softcapping=2.0),
    "gemma3": gemma3(final_logit_softcapping=3.0),
    "gemma3-linear": gemma3(rope_parameters=dict(
        full_attention=dict(rope_type="linear", factor=8.0, rope_theta=500.0),
        sliding_attention=dict(rope_type="default", rope_theta=20.0))),
    "gemma3-classifier": gemma3(transformers.Gemma3TextForSequenceClassification, num_labels=3),
    "gpt2": gpt2(),
    "gpt2-options": gpt2(scale_attn_by_inverse_layer_idx=True, scale_attn_weights=False, n_inner=24,
                         activation_function="relu", tie_word_embeddings=False),
    "gpt2-base": gpt2(transformers.GPT2Model, n_layer=1),
    "gpt2-classifier": gpt2(transformers.GPT2ForSequenceClassification, n_layer=1, num_labels=3),
    "gpt2-tokens": gpt2(transformers.GPT2ForTokenClassification, n_layer=1, num_labels=5, classifier_dropout=0.0),
}


def batches(name):
    """Padding on the left, with positions that count tokens alone; a row without a mask; for classes no positions."""
    left = inputs(name, left=True)
    alone = {"alone": {"input_ids": left["input_ids"][:1]}}
    if name.endswith("classifier"):
        return {"left": left, **alone}
    positions = left["attention_mask"].cumsum(-1) + 2
    return {"left": left, "positions": {**left, "position_ids": positions}, **alone}


@torch.no_grad()
def write_angles(name, folder):
    """Cosines and sines, first halves, by the model's own module; of Gemma 3 for both kinds of layers."""
    positions = torch.tensor([[0, 1, 2, 5, 10], [3, 7, 4, 0, 9]])
    tensors = {"position_ids": positions}
    for kind in ("full_attention", "sliding_attention") if name.startswith("gemma3") else ("",):
        rotary = load_base(name).get_submodule("model.rotary_emb" if not name.endswith("-base") else "rotary_emb")
        for key, table in zip(("cos", "sin"), rotary(torch.zeros(1), positions, *filter(None, [kind]))):
            tensors[".".join(filter(None, [kind, key]))] = table[..., :table.shape[-1] // 2]
    write_tensors(folder / "angles.safetensors", tensors)
