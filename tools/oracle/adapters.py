"""golden/adapters: one saved adapter per LoraConfig feature, with the outputs it must give.

A case is a base, the LoraConfig arguments, and what to do besides; `run_case` says what is stored.
"""

import copy
import shutil
import warnings

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from common import (SHORT, fresh, generator, inputs, load_base, max_diff, output, outputs, seed_of, setup,
                    write_json, write_tensors)

ATTENTION = ["q_proj", "v_proj"]
TASKS = {"bert-classifier": "SEQ_CLS", "roberta-classifier": "SEQ_CLS", "llama": "CAUSAL_LM",
         "llama-tied": "CAUSAL_LM", "llama-f16": "CAUSAL_LM", "bert": "FEATURE_EXTRACTION",
         "bert-tokens": "TOKEN_CLS", "roberta-tokens": "TOKEN_CLS",
         "bert-answers": "QUESTION_ANS", "roberta-answers": "QUESTION_ANS"}


def case(what, base="llama", note=None, randomised=True, converted=False, **config):
    """`randomised=False`: stored as initialised. `converted`: saved with the initial adapter subtracted."""
    return {"name": f"{base}-{what}", "base": base, "note": note, "randomised": randomised, "converted": converted,
            "config": {"r": 4, "lora_alpha": 8, "task_type": TASKS.get(base), **config}}


def bert(what, **more):
    return case(what, base="bert-classifier", **{"target_modules": ["query", "value"], **more})


def roberta(what, **more):
    return case(what, base="roberta-classifier", **{"target_modules": ["query", "value"], **more})


def llama(what, **more):
    return case(what, **{"target_modules": ATTENTION, **more})


def tied(what, **more):
    return case(what, base="llama-tied", **{"target_modules": ATTENTION, **more})


# The first key that matches wins. PEFT sorts the keys when it saves, so overlapping keys mean the same after loading
# only if they were sorted before; otherwise PEFT cannot load what it saved (size mismatch).
PATTERNS = dict(
    target_modules=["q_proj", "v_proj", "down_proj"],
    rank_pattern={"0.self_attn.v_proj": 3, r"model\.layers\.1\.mlp\.down_proj": 6, "q_proj": 2, "v_proj": 5},
    alpha_pattern={"down_proj": 3, r"layers\.1\..*": 16, "q_proj": 24},
)

CASES = [
    # Llama: one field at a time.
    case("lora", target_modules=ATTENTION),
    case("defaults", r=8, lora_alpha=8, note="target_modules left out: q_proj and v_proj by architecture"),
    llama("rslora", use_rslora=True),
    llama("dora", use_dora=True, target_modules=["q_proj", "down_proj"]),
    llama("dora-rslora", use_dora=True, use_rslora=True),
    llama("dora-dropout", use_dora=True, lora_dropout=0.3),
    llama("dora-embedding", use_dora=True, target_modules=["embed_tokens", "q_proj"]),
    llama("dropout", lora_dropout=0.3, note="eval mode, where dropout does nothing"),
    llama("lora-bias", lora_bias=True, note="the layers have no bias, so PEFT cannot merge: no `merged`"),
    llama("patterns", **PATTERNS),
    llama("patterns-rslora", use_rslora=True, **PATTERNS),
    llama("patterns-dora", use_dora=True, **PATTERNS),
    llama("layers-list", layers_to_transform=[1]),
    llama("layers-int", layers_to_transform=0),
    llama("layers-pattern", layers_to_transform=[0], layers_pattern="layers"),
    llama("regex", target_modules=r"model\.layers\.[01]\.self_attn\.(q|k)_proj"),
    llama("all-linear", target_modules="all-linear"),
    llama("exclude-list", target_modules="all-linear", exclude_modules=["k_proj", "1.mlp.up_proj"]),
    llama("exclude-regex", target_modules=["q_proj", "k_proj", "o_proj"], exclude_modules=r".*layers\.0\..*_proj"),
    llama("save-lm-head", modules_to_save=["lm_head"]),
    llama("save-embedding", modules_to_save=["embed_tokens"]),
    llama("save-norm", modules_to_save=["norm"],
          note="modules_to_save matches by plain endswith: input_layernorm and post_attention_layernorm too"),
    llama("save-embedding-and-head", modules_to_save=["embed_tokens", "lm_head"]),
    llama("embedding", target_modules=["embed_tokens"]),
    llama("embedding-and-head", target_modules=["embed_tokens", "lm_head", "v_proj"]),
    llama("embedding-rslora", target_modules=["embed_tokens", "v_proj"], use_rslora=True),
    llama("head", target_modules=["lm_head", "q_proj"]),
    llama("tokens-list", trainable_token_indices=[7, 5, 42]),
    llama("tokens-dict", trainable_token_indices={"embed_tokens": [5, 42], "lm_head": [9]}),
    llama("tokens-head-lora", target_modules=["lm_head"], trainable_token_indices=[11, 42]),
    llama("no-task", task_type=None, note="without a task_type PEFT writes auto_mapping"),
    llama("init-false", init_lora_weights=False, randomised=False, note="as PEFT initialises it"),
    llama("init-default", randomised=False, note="as PEFT initialises it: output equals base"),
    llama("init-gaussian", init_lora_weights="gaussian", randomised=False, note="as PEFT initialises it"),
    llama("init-orthogonal", init_lora_weights="orthogonal", randomised=False,
          note="as PEFT initialises it: BA is 0 but for rounding"),
    llama("init-embedding", target_modules=["embed_tokens", "lm_head"], randomised=False,
          note="as PEFT initialises it: lora_embedding_A is 0, lora_embedding_B is N(0, 1)"),
    llama("init-dora", use_dora=True, target_modules=["embed_tokens", "q_proj"], randomised=False,
          note="as PEFT initialises it: magnitudes are the norms of W"),
    llama("orthogonal", init_lora_weights="orthogonal"),
    llama("pissa-init", init_lora_weights="pissa", randomised=False,
          note="as PEFT initialises it: the residual W - sBA plus sBA; singular vectors are free in sign"),
    llama("pissa", init_lora_weights="pissa", note="not converted: the base must be made W - s*B0*A0 first"),
    llama("pissa-converted", init_lora_weights="pissa", converted=True),
    llama("pissa-rslora-converted", init_lora_weights="pissa", use_rslora=True, converted=True),
    llama("pissa-niter", init_lora_weights="pissa_niter_4",
          note="not converted, and the randomised SVD cannot be repeated: PEFT itself reloads it to another output"),
    llama("pissa-niter-converted", init_lora_weights="pissa_niter_4", converted=True),
    llama("olora-init", init_lora_weights="olora", randomised=False, note="as PEFT initialises it"),
    llama("olora", init_lora_weights="olora", note="not converted: the base must be made W - s*B0*A0 first"),
    llama("olora-converted", init_lora_weights="olora", converted=True),
    case("lora", base="llama-f16", target_modules=ATTENTION, note="base stored in float16, computed in float32"),

    # Tied weights (and biases on every projection).
    tied("lora"),
    tied("all-linear", target_modules="all-linear"),
    tied("bias-all", bias="all"),
    tied("bias-lora-only", bias="lora_only"),
    tied("lora-bias", lora_bias=True),
    tied("tokens", trainable_token_indices=[5, 42], note="the tied lm_head shares the trained rows"),
    tied("tokens-dict", trainable_token_indices={"embed_tokens": [5, 42], "lm_head": [9]},
         note="different rows per layer: the two are no longer tied; merging writes both into the shared weight"),
    tied("embedding", target_modules=["embed_tokens", "q_proj"],
         note="ensure_weight_tying is off: only the input side is adapted; merging changes the tied head too, so "
              "`merged` differs from `output`"),
    tied("embedding-tying", target_modules=["embed_tokens", "q_proj"], ensure_weight_tying=True,
         note="PEFT's merge adds the delta to the shared weight twice, so `merged` is wrong"),
    tied("head", target_modules=["lm_head", "q_proj"],
         note="only the output side is adapted; merging changes the tied embedding too"),
    tied("save-embedding", modules_to_save=["embed_tokens"], note="ensure_weight_tying is off: lm_head stays"),
    tied("save-embedding-tying", modules_to_save=["embed_tokens"], ensure_weight_tying=True),
    tied("save-head", modules_to_save=["lm_head"], note="ensure_weight_tying is off: embed_tokens stays"),

    # BERT.
    bert("lora"),
    bert("defaults", r=8, lora_alpha=8, target_modules=None),
    bert("rslora", use_rslora=True),
    bert("dora", use_dora=True, target_modules=["query", "dense"]),
    bert("lora-bias", lora_bias=True),
    bert("bias-all", bias="all"),
    bert("bias-lora-only", bias="lora_only"),
    bert("dora-bias-all", use_dora=True, bias="all"),
    bert("patterns", rank_pattern={"query": 2, r"layer\.1\.attention\.self\.value": 6}, alpha_pattern={"value": 5}),
    bert("layers-pattern", layers_to_transform=[1], layers_pattern=["layer"]),
    bert("all-linear", target_modules="all-linear"),
    bert("regex", target_modules=r".*\.(query|intermediate\.dense)"),
    bert("exclude", target_modules=["dense", "key"], exclude_modules=["attention.output.dense", "pooler.dense"]),
    bert("embedding", target_modules=["word_embeddings", "position_embeddings", "query"]),
    bert("dora-embedding", use_dora=True, target_modules=["word_embeddings", "query"]),
    bert("save-pooler", modules_to_save=["pooler"], note="classifier and score are added by SEQ_CLS"),
    bert("save-embedding", modules_to_save=["word_embeddings", "classifier"]),
    bert("tokens-list", trainable_token_indices=[5, 42]),
    bert("tokens-dict", trainable_token_indices={"word_embeddings": [5], "position_embeddings": [0, 3]}),
    bert("no-task-classifier", task_type=None, target_modules=["query", "classifier"],
         note="without SEQ_CLS the classifier can be a target"),
    case("lora", base="bert", target_modules=["query", "dense"], note="headless: output is the last hidden state"),
    case("pissa-converted", base="bert", target_modules=["query", "dense"], init_lora_weights="pissa", converted=True,
         note="headless: PEFT's conversion loses modules_to_save, and a classifier's directory would not load"),

    # RoBERTa.
    roberta("lora"),
    roberta("defaults", r=8, lora_alpha=8, target_modules=None),
    roberta("rslora", use_rslora=True),
    roberta("dora", use_dora=True),
    roberta("bias-lora-only", bias="lora_only"),
    roberta("bias-all", bias="all"),
    roberta("lora-bias", lora_bias=True, target_modules=["query", "dense"]),
    roberta("all-linear", target_modules="all-linear"),
    roberta("no-task-all-linear", target_modules="all-linear", task_type=None,
            note="without SEQ_CLS the classifier's two layers are adapted as well"),
    roberta("save-out-proj", task_type=None, modules_to_save=["out_proj"]),
    roberta("embedding", target_modules=["word_embeddings", "key"]),

    # Heads with an output for each token.
    *(case("lora", base=base, target_modules=["query", "value"])
      for base in ("bert-tokens", "bert-answers", "roberta-tokens", "roberta-answers")),

    # Decoders of other families: where targets are left out, they are the family's.
    *(case("defaults", base=base, task_type="CAUSAL_LM") for base in ("mistral", "qwen2", "qwen3", "gemma2")),
    case("defaults", base="gpt2", task_type="CAUSAL_LM", note="Conv1D: weights are stored as [in, out]"),
    case("dora", base="gpt2", task_type="CAUSAL_LM", use_dora=True, target_modules=["c_attn", "c_proj"],
         fan_in_fan_out=True),
    case("all-linear", base="gpt2", task_type="CAUSAL_LM", target_modules="all-linear", fan_in_fan_out=True,
         bias="all"),
    case("patterns-dora", base="gpt2", task_type="CAUSAL_LM", use_dora=True, target_modules=["c_attn", "c_fc"],
         rank_pattern={"0.attn.c_attn": 5, "c_fc": 2}, alpha_pattern={"c_attn": 11},
         note="fan_in_fan_out is left out: PEFT sets it"),
    case("lora", base="gpt2-tokens", task_type="TOKEN_CLS"),
    case("all-linear", base="qwen3", task_type="CAUSAL_LM", target_modules="all-linear"),
    case("lora", base="phi3", task_type="CAUSAL_LM", target_modules=["qkv_proj", "gate_up_proj", "o_proj"],
         note="joined projections are adapted as one layer"),
    case("norms", base="gemma3", task_type="CAUSAL_LM", target_modules=["q_proj", "down_proj"],
         modules_to_save=["q_norm", "post_feedforward_layernorm"],
         note="norms that multiply by 1 + weight are saved as they are stored"),
    case("embedding", base="gemma3", task_type="CAUSAL_LM", target_modules=["embed_tokens", "v_proj"],
         note="the embedding's scale is a factor on the adapter's part too"),
    case("lora", base="llama-classifier", task_type="SEQ_CLS", target_modules=ATTENTION),
]


@torch.no_grad()
def randomise(model, name):
    """Every tensor that would be trained, far from its initial value."""
    gen = generator(name)
    for key, param in sorted(model.named_parameters()):
        if param.requires_grad:
            param.add_(0.1 * torch.randn(param.shape, generator=gen))


def save(model, folder, **more):
    model.save_pretrained(folder, **more)
    (folder / "README.md").unlink()  # a model card for the hub


@torch.no_grad()
def merged_outputs(model, batch):
    try:
        model.merge_adapter()
    except RuntimeError:  # lora_bias on a layer without a bias
        return {}
    return outputs(model, batch, "merged")


def run_case(spec):
    name, base = spec["name"], spec["base"]
    folder = fresh(f"adapters/{name}")
    batch = inputs(base, SHORT)
    plain = outputs(load_base(base), batch, "base")

    torch.manual_seed(seed_of(name))
    model = get_peft_model(load_base(base), LoraConfig(**copy.deepcopy(spec["config"]))).eval()
    initial = None
    if spec["converted"]:
        # PEFT's recipe: the initial adapter is saved as plain LoRA, so that its loading leaves the base alone.
        initial = fresh(f"adapters/{name}/initial")
        init = model.peft_config["default"].init_lora_weights
        model.peft_config["default"].init_lora_weights = True
        save(model, initial)
        model.peft_config["default"].init_lora_weights = init
    if spec["randomised"]:
        randomise(model, name)
    save(model, folder, **({"path_initial_model_for_weight_conversion": str(initial)} if initial else {}))
    if initial:
        shutil.rmtree(initial)  # its tensors are the second half of the converted ones
        model = PeftModel.from_pretrained(load_base(base), str(folder)).eval()

    tensors = {**batch, **outputs(model, batch, "output"), **plain}
    with model.disable_adapter():
        disabled = output(model, batch)
    if max_diff(disabled, plain["base"]) > 1e-6:
        # PEFT trained biases in place, or holds the residual of PiSSA or OLoRA: it cannot give the base back.
        tensors["disabled"] = disabled
    tensors.update(merged_outputs(model, batch))
    write_tensors(folder / "io.safetensors", tensors)
    write_json(folder / "case.json", describe(spec, tensors))
    check(spec, folder, batch, tensors)


def describe(spec, tensors):
    if "merged" not in tensors:
        merge = "refused"
    else:
        merge = "same" if max_diff(tensors["merged"], tensors["output"]) < 1e-4 else "differs"
    note = {"note": spec["note"]} if spec["note"] else {}
    config = {k: v for k, v in spec["config"].items() if v is not None}
    return {"base": spec["base"], "config": config, "peft_merge": merge, **note}


def check(spec, folder, batch, tensors):
    """What was written must load again to the same output, and must have an effect."""
    model = PeftModel.from_pretrained(load_base(spec["base"]), str(folder)).eval()
    reload = max_diff(output(model, batch), tensors["output"])
    effect = max_diff(tensors["output"], tensors["base"])
    merge = max_diff(tensors["merged"], tensors["output"]) if "merged" in tensors else -1
    print(f"{spec['name']:40} effect {effect:8.2e}  reload {reload:8.2e}  merge {merge:8.2e}"
          + ("  disabled differs" if "disabled" in tensors else ""))
    assert reload < 1e-5 or "cannot be repeated" in (spec["note"] or ""), "reload differs"
    assert effect > 1e-2 or not spec["randomised"], "no effect"


def main():
    warnings.filterwarnings("ignore")
    fresh("adapters")
    for spec in CASES:
        run_case(spec)


if __name__ == "__main__":
    setup()
    main()
