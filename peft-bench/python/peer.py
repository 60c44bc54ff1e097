"""The same figures with Hugging Face PEFT: peer.py SCENARIO [--tiny] [--output FILE] [--models DIR].

Appends one JSON object a line: side, figure, value. What is measured, on which shapes and how often
is as in the Java scenarios of the same names.
"""

import argparse
import gc
import json
import os
import re
import resource
import statistics
import time
import warnings
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BitsAndBytesConfig,
    LlamaConfig,
    LlamaForCausalLM,
)

CLASSES = 10
ARGUMENTS = None


def add(figure, value):
    print(f"python {figure:<32} {value:.4g}", flush=True)
    with open(ARGUMENTS.output, "a") as file:
        file.write(json.dumps({"side": "python", "figure": figure, "value": value}) + "\n")


def shape(full, tiny):
    return tiny if ARGUMENTS.tiny else full


def base(name):
    torch.manual_seed(0)
    if name == "bert":
        config = BertConfig(
            hidden_size=shape(768, 32),
            num_hidden_layers=shape(12, 2),
            num_attention_heads=shape(12, 4),
            intermediate_size=shape(3072, 64),
            vocab_size=shape(30522, 100),
            num_labels=CLASSES,
            attn_implementation="sdpa",
        )
        return BertForSequenceClassification(config).eval()
    config = LlamaConfig(
        hidden_size=shape(576, 32),
        num_hidden_layers=shape(30, 2),
        num_attention_heads=shape(9, 4),
        num_key_value_heads=shape(3, 2),
        intermediate_size=shape(1536, 64),
        vocab_size=shape(49152, 100),
        tie_word_embeddings=True,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config).eval()


def lora(name):
    if name == "bert":
        return LoraConfig(
            r=8, lora_alpha=16, target_modules=["query", "value"], task_type="SEQ_CLS"
        )
    return LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"])


def lora_on_all(rank=8):
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")


def inputs(name, rows, length):
    vocabulary = shape(30522 if name == "bert" else 49152, 100)
    ids = torch.randint(0, vocabulary, (rows, length))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def in_turns(tasks, warmups, rounds):
    """Seconds of each round by task; a task is a function, or one and what undoes it untimed."""
    seconds = {name: [] for name in tasks}
    for index in range(-warmups, rounds):
        for name, task in tasks.items():
            timed, after = task if isinstance(task, tuple) else (task, None)
            begin = time.perf_counter()
            timed()
            taken = time.perf_counter() - begin
            if after:
                after()
            if index >= 0:
                seconds[name].append(taken)
    return seconds


def median_ratio(numerators, denominators):
    return statistics.median(a / b for a, b in zip(numerators, denominators))


def idle():
    plain = base("bert")
    model = get_peft_model(base("bert"), lora("bert")).eval()
    merged = get_peft_model(base("bert"), lora("bert")).eval()
    merged.merge_adapter()

    def disabled(batch):
        with model.disable_adapter():
            model(**batch)

    for name, batch, rounds in (
        ("8x128", inputs("bert", 8, 128), 12),
        ("1x16", inputs("bert", 1, 16), 150),
    ):
        with torch.inference_mode():
            seconds = in_turns(
                {
                    "plain": lambda: plain(**batch),
                    "idle": lambda: disabled(batch),
                    "merged": lambda: merged(**batch),
                    "active": lambda: model(**batch),
                },
                rounds // 4,
                rounds,
            )
        reference = seconds.pop("plain")
        add(f"idle.{name}.plain.ms", statistics.median(reference) * 1e3)
        for task, values in seconds.items():
            add(f"idle.{name}.{task}.ratio", median_ratio(values, reference))


def merge():
    model = get_peft_model(base("llama"), lora_on_all()).eval()
    with torch.no_grad():
        for safe, name in ((False, "merge"), (True, "safe_merge")):
            seconds = in_turns(
                {name: (lambda: model.merge_adapter(safe_merge=safe), model.unmerge_adapter)}, 3, 15
            )
            add(f"merge.{name}.ms", statistics.median(seconds[name]) * 1e3)
        seconds = in_turns({"unmerge": (model.unmerge_adapter, model.merge_adapter)}, 3, 15)
        add("merge.unmerge.ms", statistics.median(seconds["unmerge"]) * 1e3)


def rows():
    count = 64
    for name in ("bert", "llama"):
        batch = inputs(name, count, 16)
        for layers, config in (("qv", lora(name)), ("all", lora_on_all())):
            model = get_peft_model(base(name), config, adapter_name="row-0").eval()
            names = [f"row-{row}" for row in range(count)]
            for other in names[1:]:
                model.add_adapter(other, config)
            with torch.inference_mode():
                seconds = in_turns(
                    {
                        "one": lambda: model(**batch),
                        "each": lambda: model(**batch, adapter_names=names),
                    },
                    1,
                    5,
                )
            add(f"rows.{name}.{layers}.one.ms", statistics.median(seconds["one"]) * 1e3)
            add(f"rows.{name}.{layers}.each.ms", statistics.median(seconds["each"]) * 1e3)
            add(f"rows.{name}.{layers}.rate_of_each.ratio", median_ratio(seconds["one"], seconds["each"]))
            del model
            gc.collect()


def serve():
    """A request whose adapter is loaded, and one whose adapter is read from its directory first."""
    directory = ARGUMENTS.models / "tenants-python"
    model = get_peft_model(base("llama"), lora_on_all(), adapter_name="loaded").eval()
    model.save_pretrained(directory)
    batch = inputs("llama", 1, 16)

    def miss():
        model.load_adapter(directory / "loaded", "tenant")
        model.set_adapter("tenant")
        model(**batch)

    def forget():
        model.set_adapter("loaded")
        model.delete_adapter("tenant")

    with torch.inference_mode():
        seconds = in_turns({"hit": lambda: model(**batch), "miss": (miss, forget)}, 1, 7)
    add("serve.hit.ms", statistics.median(seconds["hit"]) * 1e3)
    add("serve.miss.ms", statistics.median(seconds["miss"]) * 1e3)
    add("serve.miss.ratio", median_ratio(seconds["miss"], seconds["hit"]))


def nf4():
    import bitsandbytes.functional as bnb

    values = torch.randn(shape(5632, 64), shape(2048, 64))
    count = values.numel()
    held = {"float32": values, "bfloat16": values.bfloat16()}
    packed = {kind: bnb.quantize_4bit(v, quant_type="nf4") for kind, v in held.items()}
    seconds = in_turns(
        {kind: (lambda kind=kind: bnb.dequantize_4bit(*packed[kind]), lambda: None) for kind in held}
        | {"quantize": (lambda: bnb.quantize_4bit(values, quant_type="nf4", compress_statistics=True), lambda: None)},
        3, 25,
    )
    for kind in held:
        add(f"nf4.unpack_{kind}.gvalues_per_second", count / statistics.median(seconds[kind]) / 1e9)
    add("nf4.quantize.gvalues_per_second", count / statistics.median(seconds["quantize"]) / 1e9)


def micro():
    model = None
    for loaded in (1, 64):
        if model is None:
            model = get_peft_model(base("llama"), lora("llama"), adapter_name="adapter0").eval()
        for index in range(len(model.peft_config), loaded):
            model.add_adapter(f"adapter{index}", lora("llama"))
        names = list(model.peft_config)
        seconds = []
        for turn in range(12):
            name = names[(turn + 1) % len(names)]
            begin = time.perf_counter()
            model.set_adapter(name)
            seconds.append(time.perf_counter() - begin)
        add(f"switch.set_active.{loaded}.us", statistics.median(seconds[2:]) * 1e6)
    for layers, config in (("qv", lora("llama")), ("all", lora_on_all())):
        del model
        gc.collect()
        model = get_peft_model(base("llama"), config, adapter_name="first").eval()
        seconds = []
        for turn in range(7):
            begin = time.perf_counter()
            model.add_adapter("new", config)
            seconds.append(time.perf_counter() - begin)
            model.delete_adapter("new")
        add(f"add.{layers}.ms", statistics.median(seconds[1:]) * 1e3)


def first_output(name, directory):
    kind = AutoModelForSequenceClassification if name == "bert" else AutoModelForCausalLM
    plain = kind.from_pretrained(directory, dtype=torch.float32, attn_implementation="sdpa")
    model = PeftModel.from_pretrained(plain, directory / "adapter").eval()
    with torch.inference_mode():
        first = model(**inputs(name, 1, 16)).logits.flatten()[0].item()
    if first != first:
        raise ValueError("the output is NaN")


def load():
    tasks = {
        name: (lambda name=name: first_output(name, ARGUMENTS.models / name))
        for name in ("bert", "llama")
    }
    for name, values in in_turns(tasks, 2, 7).items():
        add(f"load.{name}.in_process.ms", statistics.median(values) * 1e3)


def train(rows, length, kind):
    """One step: forward pass with dropout, backward pass, clipping, AdamW in its fused form."""
    plain = base("bert")
    if kind == "bf16":
        plain = plain.to(torch.bfloat16)
    model = get_peft_model(plain, lora("bert")).train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0, fused=True)
    batch = inputs("bert", rows, length)
    labels = torch.randint(0, CLASSES, (rows,))

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == "autocast"):
            loss = model(**batch, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    seconds = in_turns({"step": step}, 3, 8)["step"]
    prefix = f"train.{rows}x{length}.{kind}"
    add(f"{prefix}.samples_per_second", rows / statistics.median(seconds))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    add(f"{prefix}.peak.mib", peak / 1024)


def train_decoder(name, size, kind, recomputed):
    """One step with LoRA on all linear layers, every token a label; AdamW in its fused form."""
    rows, length, *rank = map(int, re.split("[xr]", size))
    directory = ARGUMENTS.models / f"generate-{name}"
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[kind]
    plain = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype, attn_implementation="sdpa")
    model = get_peft_model(plain, lora_on_all(*rank)).train()
    if recomputed:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0, fused=True)
    ids = torch.randint(0, plain.config.vocab_size, (rows, length))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}

    def step():
        loss = model(**batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    seconds = in_turns({"step": step}, 2, 4)["step"]
    prefix = f"train.{name}.{size}.{kind}" + (".recomputed" if recomputed else "")
    taken = statistics.median(seconds)
    add(f"{prefix}.tokens_per_second", rows * length / taken)
    add(f"{prefix}.peak.mib", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    side = torch.randn(2048, 2048).to(dtype)
    large = min(in_turns({"gemm": lambda: torch.nn.functional.linear(side, side)}, 1, 5)["gemm"])
    count = sum(p.numel() for n, p in plain.named_parameters() if "lora_" not in n)
    if not plain.config.tie_word_embeddings:
        count -= plain.config.vocab_size * plain.config.hidden_size
    floor = 4 * rows * length * count / (2 * 2048**3 / large)
    add(f"{prefix}.floor.share", floor / taken)


def generation_model(name, kind):
    """For "4bit" the 135M shape, quantized by bitsandbytes as it is loaded."""
    four_bit = name == "4bit"
    directory = ARGUMENTS.models / f"generate-{'135m' if four_bit else name}"
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[kind]
    more = {}
    if four_bit:
        more["device_map"] = "cpu"
        more["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    plain = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype, **more).eval()
    if four_bit:
        return PeftModel.from_pretrained(plain, directory / "adapter").eval()
    return PeftModel.from_pretrained(plain, directory / "adapter").to(dtype).eval()


def greedy(model, ids, tokens):
    return model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        do_sample=False,
        pad_token_id=0,
    )


def generate(name, kind):
    model = generation_model(name, kind)
    vocabulary = model.config.vocab_size
    tokens = shape(256, 16)
    short = torch.randint(3, vocabulary, (1, 16))
    long = torch.randint(3, vocabulary, (1, shape(512, 32)))
    greedy(model, short, 16)
    best = 0
    prompt = 0
    for _ in range(3):
        begin = time.perf_counter()
        greedy(model, short, tokens)
        best = max(best, tokens / (time.perf_counter() - begin))
        begin = time.perf_counter()
        with torch.inference_mode():
            model(input_ids=long, use_cache=True, logits_to_keep=1)
        prompt = max(prompt, long.shape[1] / (time.perf_counter() - begin))
    add(f"generate.{name}.{kind}.decode.tokens_per_second", best)
    add(f"generate.{name}.{kind}.prompt.tokens_per_second", prompt)
    if name == "4bit":
        with open("/proc/self/status") as status:
            resident = next(line for line in status if line.startswith("VmRSS"))
        add(f"generate.4bit.{kind}.resident.mib", int(resident.split()[1]) / 1024)


def first_token(name):
    directory = ARGUMENTS.models / f"generate-{name}"
    model = AutoModelForCausalLM.from_pretrained(directory).eval()
    greedy(model, torch.randint(3, model.config.vocab_size, (1, 16)), 1)


def gguf():
    """llama.cpp by way of llama-cpp-python."""
    from llama_cpp import Llama

    model = Llama(
        str(ARGUMENTS.gguf), n_ctx=1024, n_threads=ARGUMENTS.threads, n_threads_batch=ARGUMENTS.threads, verbose=False
    )
    generator = torch.Generator().manual_seed(1)
    short = torch.randint(3, 1000, (16,), generator=generator).tolist()
    long = torch.randint(3, 1000, (512,), generator=generator).tolist()
    best = 0
    prompt = 0
    for _ in range(5):
        model.reset()
        model.eval(short)
        begin = time.perf_counter()
        for _ in range(128):
            model.eval([model.sample(temp=0.0)])
        best = max(best, 128 / (time.perf_counter() - begin))
        model.reset()
        begin = time.perf_counter()
        model.eval(long)
        prompt = max(prompt, 512 / (time.perf_counter() - begin))
    add("gguf.decode.tokens_per_second", best)
    add("gguf.prompt.tokens_per_second", prompt)


def main():
    global ARGUMENTS
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--output", default="results.jsonl")
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--gguf", type=Path, default=Path("model.gguf"))
    ARGUMENTS = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(ARGUMENTS.threads)
    scenario = ARGUMENTS.scenario
    if scenario.startswith(("train-135m-", "train-1b-")):
        _, name, size, kind, *way = scenario.split("-")
        train_decoder(name, size, kind, bool(way))
    elif scenario.startswith("train-"):
        _, size, kind = scenario.split("-")
        rows, length = map(int, size.split("x"))
        train(rows, length, kind)
    elif scenario.startswith("generate-"):
        _, name, kind = scenario.split("-")
        generate(name, kind)
    elif scenario == "gguf":
        gguf()
    elif scenario.startswith("first-token-"):
        first_token(scenario.rsplit("-", 1)[1])
    elif scenario.startswith("first-output-"):
        name = scenario.rsplit("-", 1)[1]
        first_output(name, ARGUMENTS.models / name)
    elif scenario == "versions":
        import peft
        import transformers

        print(f"torch {torch.__version__}, transformers {transformers.__version__}, PEFT {peft.__version__}")
    else:
        {"idle": idle, "merge": merge, "micro": micro, "load": load, "nf4": nf4, "rows": rows, "serve": serve}[scenario]()


if __name__ == "__main__":
    main()
