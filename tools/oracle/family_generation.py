"""golden/generation/families.json: what transformers' generate makes of prompts with every family of decoders, and what
its models compute in bfloat16."""

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from common import load_base, setup, write_lines
from generation import checked

# Tokens that every tiny vocabulary has; longer than the windows of those that have one.
PROMPTS = [[1, 17, 42, 9, 33, 28, 5, 11], [1, 30, 7], [1, 25, 23, 8, 12]]
SHORT = [[1, 17, 42], [1, 30]]

# Families, and those whose angles change when the text passes eight tokens.
MODELS = ["mistral", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "gpt2", "phi3-longrope", "llama-dynamic"]
ADAPTED = ["mistral-defaults", "qwen2-defaults", "qwen3-defaults", "gemma2-defaults", "gemma3-embedding", "phi3-lora",
           "gpt2-defaults"]


def runs(name):
    prompts = SHORT if name in ("phi3-longrope", "llama-dynamic") else PROMPTS
    yield prompts[:1], dict(max_new_tokens=16)
    yield prompts, dict(max_new_tokens=16)
    yield prompts, dict(max_new_tokens=12, repetition_penalty=1.3)
    yield prompts[:1], dict(max_new_tokens=12, num_beams=3)
    yield prompts, dict(max_new_tokens=12, num_beams=3, length_penalty=0.5)
    if prompts is SHORT:
        yield PROMPTS[:1], dict(max_new_tokens=8)  # at the boundary from the start


def stable(name, pair, runs_of, **more):
    """The cases that float64 decides as well. Gemma 2's bounded scores and logits leave few."""
    found = []
    for prompts, options in runs_of:
        try:
            found.append({**checked(name, *pair, prompts, options), **more})
        except SystemExit as unstable:
            print(unstable)
    assert len(found) >= 2 or name == "gemma2", f"{name}: most are unstable"
    return found


def pair(name):
    return load_base(name), load_base(name).double()


def cases():
    for name in MODELS:
        yield from stable(name, pair(name), runs(name))


def adapted():
    for adapter in ADAPTED:
        name = adapter.split("-")[0]
        model, wide = (PeftModel.from_pretrained(m, f"adapters/{adapter}").eval() for m in pair(name))
        options = (dict(max_new_tokens=12), dict(max_new_tokens=8), dict(max_new_tokens=10, num_beams=3),
                   dict(max_new_tokens=6, num_beams=2))
        yield from stable(name, (model, wide.double()), [(PROMPTS, each) for each in options], adapter=adapter)


@torch.no_grad()
def rounded():
    """Logits of weights rounded to bfloat16: computed in float32, and how far off transformers' bfloat16 is."""
    for name in ["llama", *MODELS[:7]]:
        half = AutoModelForCausalLM.from_pretrained(f"models/{name}", dtype=torch.bfloat16).eval()
        wide = load_base(name)  # not half.float(): buffers are to stay exact
        for parameter in wide.parameters():
            parameter.data = parameter.data.bfloat16().float()
        ids = torch.tensor(PROMPTS[:1])
        expected, rough = wide(ids).logits, half(ids).logits.float()
        yield {"model": name, "ids": PROMPTS[0], "logits": [round(v, 7) for v in expected.flatten().tolist()],
               "bfloat16": [round(v, 7) for v in rough.flatten().tolist()]}


def main():
    write_lines("generation/families.json", {"cases": list(cases()), "adapted": list(adapted()),
                                             "rounded": list(rounded())})


if __name__ == "__main__":
    setup()
    main()
