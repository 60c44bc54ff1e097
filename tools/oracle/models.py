"""golden/models: tiny random bases as transformers saves them, with inputs and expected outputs."""

import torch
import transformers

import decoders
from common import LENGTHS, SEQ, VOCAB, fresh, generator, inputs, load_base, output, setup, write_tensors

TINY = dict(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
            max_position_embeddings=64)
# Dropout is off even in training mode, so that training runs need no agreement on random numbers.
ENCODER = dict(TINY, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
LLAMA = dict(TINY, num_key_value_heads=2, rms_norm_eps=1e-5, tie_word_embeddings=False)
BERT = dict(ENCODER, type_vocab_size=2)
ROBERTA = dict(ENCODER, type_vocab_size=1)

MODELS = {
    "bert": (transformers.BertModel, transformers.BertConfig(**BERT), {}),
    "bert-classifier": (transformers.BertForSequenceClassification,
                        transformers.BertConfig(**BERT, num_labels=3), {}),
    "roberta": (transformers.RobertaModel, transformers.RobertaConfig(**ROBERTA), {}),
    "roberta-classifier": (transformers.RobertaForSequenceClassification,
                           transformers.RobertaConfig(**ROBERTA, num_labels=3), {}),
    # Heads with an output for each token; one layer, for they differ from the others in nothing else.
    "bert-tokens": (transformers.BertForTokenClassification,
                    transformers.BertConfig(**dict(BERT, num_hidden_layers=1), num_labels=5), {}),
    "bert-answers": (transformers.BertForQuestionAnswering,
                     transformers.BertConfig(**dict(BERT, num_hidden_layers=1)), {}),
    "roberta-tokens": (transformers.RobertaForTokenClassification,
                       transformers.RobertaConfig(**dict(ROBERTA, num_hidden_layers=1), num_labels=5), {}),
    "roberta-answers": (transformers.RobertaForQuestionAnswering,
                        transformers.RobertaConfig(**dict(ROBERTA, num_hidden_layers=1)), {}),
    "llama": (transformers.LlamaForCausalLM, transformers.LlamaConfig(**LLAMA), {}),
    # All that a Llama config can do to trip a reader: tied head, biases, a head size of its own, bf16, shards.
    "llama-tied": (transformers.LlamaForCausalLM,
                   transformers.LlamaConfig(**dict(LLAMA, tie_word_embeddings=True), attention_bias=True,
                                            mlp_bias=True, head_dim=16),
                   dict(dtype=torch.bfloat16, max_shard_size="40KB")),
    "llama-f16": (transformers.LlamaForCausalLM, transformers.LlamaConfig(**LLAMA), dict(dtype=torch.float16)),
    **decoders.MODELS,
}


@torch.no_grad()
def randomise(model, name):
    """Large weights, and norms and biases that are not 1 and 0: what is left out or swapped must show."""
    gen = generator(name)
    for key, param in sorted(model.named_parameters()):
        noise = 0.2 * torch.randn(param.shape, generator=gen)
        # Gemma's norms multiply by 1 + weight.
        is_norm = "norm" in key.lower() and key.endswith("weight") and not name.startswith("gemma")
        param.copy_(1 + noise if is_norm else noise)


def write_io(model, path, batch):
    with torch.no_grad():
        result = model(**batch)
    expected = {k: result[k] for k in ("logits", "last_hidden_state", "pooler_output", "start_logits", "end_logits")
                if k in result and result[k] is not None}
    write_tensors(path, {**batch, **expected})


def main():
    for name, (kind, config, how) in MODELS.items():
        folder = fresh(f"models/{name}")
        model = kind(config)
        randomise(model, name)
        model.to(how.get("dtype", torch.float32))
        model.save_pretrained(folder, **({"max_shard_size": how["max_shard_size"]} if "max_shard_size" in how else {}))

        model = load_base(name)  # expectations are those of the stored weights, computed in float32
        write_io(model, folder / "io.safetensors", inputs(name))
        if name in decoders.MODELS:
            for suffix, batch in decoders.batches(name).items():
                # A base of its own each time: with dynamic angles transformers keeps those of the longest text so far.
                write_io(load_base(name), folder / f"io_{suffix}.safetensors", batch)
            rope = getattr(config, "rope_parameters", {"rope_type": "default"})
            if rope.get("rope_type") != "default" and not name.endswith("classifier"):
                decoders.write_angles(name, folder)
        elif name.startswith("llama") or name.endswith(("-tokens", "-answers")):
            write_io(model, folder / "io_left.safetensors", inputs(name, left=True))
        if name in ("bert", "bert-classifier"):
            types = torch.zeros(len(LENGTHS), SEQ, dtype=torch.int64)
            types[:, 3:] = 1
            write_io(model, folder / "io_types.safetensors", {**inputs(name), "token_type_ids": types})
        assert output(model, inputs(name)).std() > 0.1, f"{name}: degenerate"


if __name__ == "__main__":
    setup()
    main()
