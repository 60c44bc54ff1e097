"""golden/gguf/smollm2.json: what transformers makes of SmolLM2-135M-Instruct's GGUF file.

The file is fetched by tools/fetch-smollm2.sh; the environment variable SMOLLM2 names it. Not part of generate.py.
"""

import hashlib
import os
from pathlib import Path

import torch
import transformers

from common import setup, write_json
from gguf_files import TEXTS, pre_tokenizer


def main():
    file = Path(os.environ["SMOLLM2"])
    model = transformers.AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizer("smollm")  # as SmolLM2's own tokenizer.json has it
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if name != "lm_head.weight":
            digest.update(name.encode())
            digest.update(value.contiguous().numpy().tobytes())
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": "What is the capital of France?"}],
                                           tokenize=False, add_generation_prompt=True)
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = model(ids).logits[0, -1]
    best = torch.topk(logits, 5)
    write_json("gguf/smollm2.json", {
        "weights": digest.hexdigest(),
        "prompt": prompt,
        "prompt_ids": ids[0].tolist(),
        "best": [{"id": i, "logit": v} for i, v in zip(best.indices.tolist(), best.values.tolist())],
        "texts": [{"text": text, "ids": tokenizer(text)["input_ids"]} for text in TEXTS]})


if __name__ == "__main__":
    setup()
    main()
