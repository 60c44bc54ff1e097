"""golden/qlora: runs of LoRA by PEFT over the values that bases in 4 bits unpack to, and what LoftQ begins with.

Not over the quantized models themselves: on CPUs with AVX-512 bitsandbytes 0.50.2 cannot compute with rows that are
shorter than a block (RuntimeError), which those of the tiny models are.
"""

import os
import warnings

os.environ["TORCHDYNAMO_DISABLE"] = "1"

from bitsandbytes.nn import Linear4bit
from peft.utils.loftq_utils import _low_rank_decomposition
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from common import fresh, load_base, setup, write_json, write_tensors
from quantization import unpacked
from training import MAX_NORM, OPTIMIZER, STEPS, batches, case, save_start, train

NF4 = dict(bnb_4bit_quant_type="nf4")
CASES = [
    {**case("llama", "nf4-all-linear", target_modules="all-linear"),
     "quantization": dict(**NF4, bnb_4bit_use_double_quant=True)},
    {**case("llama-tied", "nf4-dora", target_modules=["q_proj", "down_proj"], use_dora=True, use_rslora=True),
     "quantization": NF4},
    {**case("gpt2", "fp4-all-linear", target_modules="all-linear", modules_to_save=["ln_f"]), "quantization": {}},
]
LOFTQ_RANK = 6


def load_quantized(spec):
    config = BitsAndBytesConfig(load_in_4bit=True, **spec["quantization"])
    return config, AutoModelForCausalLM.from_pretrained(
        f"models/{spec['base']}", quantization_config=config, device_map="cpu").eval()


def loftq(spec, dense):
    """The product that PEFT's LoftQ begins with, for scaling 1: of what the first quantization lost."""
    original = load_base(spec["base"])
    found = {}
    for path, module in load_quantized(spec)[1].named_modules():
        if isinstance(module, Linear4bit):
            lost = original.get_submodule(path).weight.data - dense.get_submodule(path).weight.data
            parts = _low_rank_decomposition(lost, reduced_rank=LOFTQ_RANK)
            found[f"loftq.{path}"] = parts["L"] @ parts["R"]
    return found


def run_case(spec):
    folder = fresh(f"qlora/{spec['name']}")
    save_start(spec, folder / "start")
    config, quantized = load_quantized(spec)
    data = batches(spec)
    _, losses, norms = train(spec, folder / "start", data, base=unpacked(spec["base"], quantized))
    more = loftq(spec, unpacked(spec["base"], quantized)) if spec is CASES[0] else {}
    write_tensors(folder / "io.safetensors", {**data, "losses": losses, "grad_norms": norms, **more})
    write_json(folder / "case.json", {
        "base": spec["base"], "config": spec["config"], "quantization": config.to_dict(), "steps": STEPS,
        "optimizer": {"name": "AdamW", **OPTIMIZER}, "max_grad_norm": MAX_NORM, "loftq_rank": LOFTQ_RANK})
    print(f"{spec['name']:36} loss {losses[0]:.4f} -> {losses[-1]:.4f}")


def main():
    warnings.filterwarnings("ignore")
    fresh("qlora")
    for spec in CASES:
        run_case(spec)


if __name__ == "__main__":
    setup()
    main()
