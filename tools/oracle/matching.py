"""golden/matching.json: which modules a LoraConfig adapts, with which rank and alpha, on seven module trees.

Needs no weights: a tree lists every module's path and kind, so that matching can be tested without a model.
"""

import copy
import os
import warnings

import torch
import transformers
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils import ModulesToSaveWrapper, TrainableTokensWrapper
from transformers.pytorch_utils import Conv1D

from common import setup, write_lines
from models import BERT, LLAMA, ROBERTA

GPT2 = transformers.GPT2Config(vocab_size=100, n_positions=64, n_embd=32, n_layer=2, n_head=4)


class Moe(torch.nn.Module):
    """Not from transformers: numbers that are no layer indices, names that contain other names."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList(self.layer() for _ in range(3))
        self.q = torch.nn.Linear(8, 8)
        self.not_q = torch.nn.Linear(8, 8)
        self.blocks = torch.nn.ModuleDict({"layers": torch.nn.ModuleList(self.layer() for _ in range(2))})

    @staticmethod
    def layer():
        experts = torch.nn.ModuleList(torch.nn.ModuleDict({"up": torch.nn.Linear(8, 8)}) for _ in range(2))
        return torch.nn.ModuleDict({"q": torch.nn.Linear(8, 8), "experts": experts, "norm": torch.nn.LayerNorm(8),
                                    "conv": torch.nn.Conv1d(8, 8, 3)})


TREES = {
    "bert": lambda: transformers.BertModel(transformers.BertConfig(**BERT)),
    "bert-classifier": lambda: transformers.BertForSequenceClassification(
        transformers.BertConfig(**BERT, num_labels=3)),
    "roberta-classifier": lambda: transformers.RobertaForSequenceClassification(
        transformers.RobertaConfig(**ROBERTA, num_labels=3)),
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA)),
    "llama-headless": lambda: transformers.LlamaModel(transformers.LlamaConfig(**LLAMA)),
    "gpt2": lambda: transformers.GPT2LMHeadModel(GPT2),
    "moe": Moe,
}

SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FULL_LLAMA = [f"model.layers.{i}.{'self_attn' if p in SEVEN[:4] else 'mlp'}.{p}" for i in (0, 1) for p in SEVEN]
FULL_BERT = [f"bert.encoder.layer.{i}.{m}" for i in (0, 1) for m in (
    "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
    "intermediate.dense", "output.dense")]
SEQ_CLS = dict(task_type="SEQ_CLS")

CASES = {
    "llama": [
        dict(target_modules=["q_proj", "v_proj"]),
        dict(),
        dict(target_modules=SEVEN),
        dict(target_modules="all-linear"),
        dict(target_modules="ALL-Linear"),
        dict(target_modules="all-linear", task_type="CAUSAL_LM", modules_to_save=["lm_head"]),
        dict(target_modules="all-linear", exclude_modules=["down_proj", "0.self_attn.q_proj"]),
        dict(target_modules="all-linear", exclude_modules=r".*mlp.*"),
        dict(target_modules=["all-linear"]),
        dict(target_modules=["lm_head"]),
        dict(target_modules=["embed_tokens", "lm_head"]),
        dict(target_modules=["model.layers.0.self_attn.q_proj"]),
        dict(target_modules=["0.self_attn.q_proj", "layers.1.mlp.up_proj"]),
        dict(target_modules=["proj"]),
        dict(target_modules=["_proj", "q_proj"]),
        dict(target_modules=[r".*q_proj"]),
        dict(target_modules=r".*q_proj"),
        dict(target_modules="q_proj"),
        dict(target_modules=r"model\.layers\.\d+\.self_attn\.(q|v)_proj"),
        dict(target_modules=r".*self_attn"),
        dict(target_modules=["self_attn"]),
        dict(target_modules=["mlp", "q_proj"]),
        dict(target_modules=["norm"]),
        dict(target_modules=["q_proj", "no_such_layer"]),
        dict(target_modules=["no_such_layer"]),
        dict(target_modules=[]),
        dict(target_modules=""),
        dict(target_modules=["Q_PROJ"]),
        dict(target_modules=["q_proj"], exclude_modules=["q_proj"]),
        dict(target_modules=["q_proj", "v_proj"], exclude_modules=["proj"]),
        dict(target_modules=["q_proj", "v_proj"], exclude_modules="v_proj"),
        dict(target_modules=["q_proj", "v_proj"], exclude_modules=r".*v_proj"),
        dict(target_modules=["q_proj", "v_proj"], exclude_modules=["model.layers.0.self_attn.v_proj"]),
        dict(target_modules=["q_proj", "v_proj"], exclude_modules=["self_attn"]),
        dict(target_modules=r".*_proj", exclude_modules=["k_proj"]),
        dict(target_modules=r".*", exclude_modules=r".*"),
        dict(target_modules=["q_proj"], layers_to_transform=1),
        dict(target_modules=["q_proj"], layers_to_transform=[0, 1]),
        dict(target_modules=["q_proj"], layers_to_transform=[]),
        dict(target_modules=["q_proj"], layers_to_transform=[7]),
        dict(target_modules=["q_proj"], layers_to_transform=[1], layers_pattern="layers"),
        dict(target_modules=["q_proj"], layers_to_transform=[1], layers_pattern=["h", "layers"]),
        dict(target_modules=["q_proj"], layers_to_transform=[1], layers_pattern=["layers", "h"]),
        dict(target_modules=["q_proj"], layers_to_transform=[1], layers_pattern="h"),
        dict(target_modules=["q_proj"], layers_to_transform=[1], layers_pattern=""),
        dict(target_modules=["q_proj"], layers_to_transform=[1], layers_pattern="lay.*"),
        dict(target_modules=["q_proj"], layers_pattern="layers"),
        dict(target_modules=r".*q_proj", layers_to_transform=[1]),
        dict(target_modules=r".*q_proj", layers_pattern="layers"),
        dict(target_modules="all-linear", layers_to_transform=[1]),
        dict(target_modules=["model.layers.0.self_attn.q_proj", "v_proj"], layers_to_transform=[1]),
        dict(target_modules=["embed_tokens", "q_proj"], layers_to_transform=[0]),
        dict(target_modules=["q_proj"], modules_to_save=["lm_head"]),
        dict(target_modules=["q_proj"], modules_to_save=["norm"]),
        dict(target_modules=["q_proj"], modules_to_save=["model.norm"]),
        dict(target_modules=["q_proj"], modules_to_save=["self_attn"]),
        dict(target_modules=["q_proj", "v_proj"], modules_to_save=["q_proj"]),
        dict(target_modules=["q_proj", "v_proj", "up_proj"], modules_to_save=["layers.0.self_attn"]),
        dict(target_modules=["q_proj"], modules_to_save=["no_such_layer"]),
        dict(target_modules=["q_proj"], modules_to_save=["tokens"]),
        dict(target_modules=["q_proj", "lm_head"], modules_to_save=["embed_tokens"]),
        dict(target_modules=SEVEN, rank_pattern={"q_proj": 16}, alpha_pattern={"q_proj": 32}),
        dict(target_modules=SEVEN, rank_pattern={r".*\.0\..*": 2, "q_proj": 16}),
        dict(target_modules=SEVEN, rank_pattern={"q_proj": 16, r".*\.0\..*": 2}),
        dict(target_modules=SEVEN, rank_pattern={"proj": 16, "self_attn.q_proj": 3}),
        dict(target_modules=SEVEN, rank_pattern={"^q_proj": 16}),
        dict(target_modules=SEVEN, rank_pattern={r"^model.layers.1.self_attn.q_proj": 16}),
        dict(target_modules=SEVEN, rank_pattern={"model.layers.1": 16, r"layers.1.mlp.*": 4}),
        dict(target_modules=SEVEN, rank_pattern={"q_proj|k_proj": 16}, alpha_pattern={"(gate|up)_proj": 5}),
        dict(target_modules=["q_proj"], rank_pattern={"no_such_layer": 16}),
        dict(target_modules=["q_proj"], rank_pattern={"q_proj": 0}),
        dict(target_modules=["q_proj"], use_rslora=True, rank_pattern={"0.self_attn.q_proj": 16}),
        dict(target_modules=["q_proj"], r=0),
        dict(target_modules=["q_proj"], r=-1),
        dict(target_modules=["q_proj"], trainable_token_indices=[1, 2]),
        dict(target_modules=["q_proj"], trainable_token_indices={"lm_head": [1]}),
        dict(target_modules=["q_proj"], trainable_token_indices={"no_such_layer": [1]}),
        dict(target_modules=["embed_tokens"], trainable_token_indices=[1, 2]),
        dict(target_modules=["q_proj"], modules_to_save=["embed_tokens"], trainable_token_indices=[1, 2]),
        dict(target_modules=FULL_LLAMA),
        dict(target_modules=FULL_LLAMA + ["no_such_layer"] + [f"missing.{i}" for i in range(9)]),
        dict(target_modules=[f"x{i}" for i in range(20)] + ["q_proj"]),
        dict(target_modules=["q_proj"], lora_bias=True, use_dora=True),
        dict(target_modules=["q_proj"], lora_bias=True, init_lora_weights="gaussian"),
        dict(target_modules=["q_proj"], bias="some"),
        dict(target_modules=["q_proj"], init_lora_weights="orthogonal", r=3),
        dict(target_modules=["q_proj"], fan_in_fan_out=True),
    ],
    "llama-headless": [
        dict(target_modules=["q_proj"], layers_to_transform=[1]),
        dict(target_modules=["q_proj"], layers_to_transform=[1], layers_pattern="layers"),
        dict(target_modules=["layers.0.self_attn.q_proj", "k_proj"], layers_to_transform=[0]),
        dict(target_modules="all-linear"),
    ],
    "bert": [
        dict(),
        dict(target_modules="all-linear"),
        dict(target_modules="all-linear", task_type="FEATURE_EXTRACTION"),
        dict(target_modules=["query"], layers_to_transform=[1], layers_pattern="layer"),
        dict(target_modules=["output"]),
    ],
    "bert-classifier": [
        dict(**SEQ_CLS),
        dict(),
        dict(target_modules="all-linear", **SEQ_CLS),
        dict(target_modules="all-linear"),
        dict(target_modules="all-linear", exclude_modules=["pooler.dense"], **SEQ_CLS),
        dict(target_modules=["dense"], **SEQ_CLS),
        dict(target_modules=["output.dense"], **SEQ_CLS),
        dict(target_modules=["attention.output.dense"], **SEQ_CLS),
        dict(target_modules=["dense"], exclude_modules=["pooler.dense", "intermediate.dense"], **SEQ_CLS),
        dict(target_modules=["dense"], layers_to_transform=[1], **SEQ_CLS),
        dict(target_modules=["dense"], layers_to_transform=[1], layers_pattern="layer", **SEQ_CLS),
        dict(target_modules=["query", "classifier"], **SEQ_CLS),
        dict(target_modules=["query", "classifier"]),
        dict(target_modules=["classifier"], **SEQ_CLS),
        dict(target_modules=["query"], modules_to_save=["pooler"], **SEQ_CLS),
        dict(target_modules=["query", "dense"], modules_to_save=["pooler"], **SEQ_CLS),
        dict(target_modules=["query", "dense"], modules_to_save=["output"], **SEQ_CLS),
        dict(target_modules=["word_embeddings"], **SEQ_CLS),
        dict(target_modules=["word_embeddings", "position_embeddings", "token_type_embeddings"], **SEQ_CLS),
        dict(target_modules=["LayerNorm"], **SEQ_CLS),
        dict(target_modules=r".*(query|value)", **SEQ_CLS),
        dict(target_modules=r"(query|value)", **SEQ_CLS),
        dict(target_modules=["q", "v"], **SEQ_CLS),
        dict(target_modules=FULL_BERT + [f"bert.gone.{i}" for i in range(8)], **SEQ_CLS),
        dict(target_modules=["query", "value"], task_type="TOKEN_CLS"),
        dict(target_modules=["query"], rank_pattern={"layer.0.attention.self.query": 2}, **SEQ_CLS),
        dict(target_modules=["query"], rank_pattern={"classifier": 2}, **SEQ_CLS),
    ],
    "roberta-classifier": [
        dict(**SEQ_CLS),
        dict(target_modules="all-linear", **SEQ_CLS),
        dict(target_modules="all-linear"),
        dict(target_modules=["dense"], **SEQ_CLS),
        dict(target_modules=["dense"]),
        dict(target_modules=["dense"], exclude_modules=["classifier.dense"]),
        dict(target_modules=["query", "out_proj"], modules_to_save=["dense"]),
    ],
    "gpt2": [
        dict(),
        dict(task_type="CAUSAL_LM", fan_in_fan_out=True),
        dict(target_modules="all-linear"),
        dict(target_modules=["c_proj"]),
        dict(target_modules=["attn.c_proj", "c_fc"]),
        dict(target_modules=["c_attn", "lm_head"]),
        dict(target_modules=["wte", "c_attn"]),
        dict(target_modules=["c_attn"], layers_to_transform=[1], layers_pattern="h"),
        dict(target_modules=["c_attn"], layers_to_transform=[0]),
        dict(target_modules=["attn"]),
        dict(target_modules=r".*\.mlp\.c_.*"),
    ],
    "moe": [
        dict(),
        dict(target_modules=["q"]),
        dict(target_modules=["up"], layers_to_transform=[1]),
        dict(target_modules=["up"], layers_to_transform=[1], layers_pattern="layers"),
        dict(target_modules=["up"], layers_to_transform=[1], layers_pattern="experts"),
        dict(target_modules=["q"], layers_to_transform=[0]),
        dict(target_modules=["q"], layers_to_transform=[0], layers_pattern="layers"),
        dict(target_modules=["q"], modules_to_save=["q"]),
        dict(target_modules=["not_q"], modules_to_save=["q"]),
        dict(target_modules=["up"], modules_to_save=["experts.0"]),
        dict(target_modules="all-linear"),
        dict(target_modules=["conv"]),
        dict(target_modules=["q", "norm"]),
        dict(target_modules=["2.q", "layers.0.q"]),
        dict(target_modules=["up"], rank_pattern={r"experts\.1\.up": 2, r"layers\.\d+\.experts\.\d+\.up": 3}),
    ],
}


def kind(module):
    if isinstance(module, torch.nn.Linear):
        return "linear"
    if isinstance(module, torch.nn.Embedding):
        return "embedding"
    if isinstance(module, Conv1D):
        return "conv1d"  # Hugging Face's, a Linear with its weight transposed
    if isinstance(module, torch.nn.Conv1d):
        return "convolution1d"
    return "leaf" if not list(module.children()) else "container"


def path_of(model, wanted):
    return next((name for name, module in model.named_modules() if wanted is not None and module is wanted), None)


def tree(model):
    """All modules in PEFT's order of visit."""
    modules = []
    for path, module in model.named_modules():
        if path:
            entry = {"path": path, "kind": kind(module)}
            if hasattr(module, "weight"):
                entry["weight"] = list(module.weight.shape)
                entry["bias"] = getattr(module, "bias", None) is not None
            modules.append(entry)
    is_hf = isinstance(model, transformers.PreTrainedModel)
    return {"class": type(model).__name__, "model_type": model.config.model_type if is_hf else None,
            "input_embeddings": path_of(model, model.get_input_embeddings()) if is_hf else None,
            "output_embeddings": path_of(model, model.get_output_embeddings()) if is_hf else None,
            "modules": modules}


def match(name, config):
    """What PEFT does with this config on this tree: the layers, or the class of its error."""
    try:
        model = get_peft_model(TREES[name](), LoraConfig(**copy.deepcopy(config)))
    except Exception as error:  # which one is the result
        return {"error": type(error).__name__, "message": str(error).splitlines()[0][:160]}
    result = {"adapted": {}, "saved": [], "tokens": []}
    for path, module in model.base_model.model.named_modules():
        if isinstance(module, LoraLayer):
            result["adapted"][path] = {"r": module.r["default"], "alpha": module.lora_alpha["default"],
                                       "scaling": module.scaling["default"]}
        elif isinstance(module, ModulesToSaveWrapper):
            result["saved"].append(path)
        elif isinstance(module, TrainableTokensWrapper):
            result["tokens"].append(path)
    stored = model.peft_config["default"]
    targets = stored.target_modules
    result["target_modules"] = targets if isinstance(targets, str) else sorted(targets)
    result["modules_to_save"] = stored.modules_to_save
    result["fan_in_fan_out"] = stored.fan_in_fan_out
    result["trainable"], result["all"] = model.get_nb_trainable_parameters()
    return result


def main():
    warnings.filterwarnings("ignore")
    cases = [{"tree": name, "config": config, **match(name, config)}
             for name, configs in CASES.items() for config in configs]
    write_lines("matching.json", {"trees": [{"name": name, **tree(make())} for name, make in TREES.items()],
                                  "cases": cases})
    errors = sum("error" in c for c in cases)
    print(f"matching: {len(cases)} cases, {errors} of them errors, {os.path.getsize('matching.json')} bytes")


if __name__ == "__main__":
    setup()
    main()
