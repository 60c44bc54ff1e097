"""golden/methods: saved adapters of PEFT's smaller methods, with the outputs they must give."""

import copy
import warnings

import torch
from peft import IA3Config, PeftModel, VeraConfig, get_peft_model

from common import SHORT, fresh, generator, inputs, load_base, max_diff, output, seed_of, setup, write_json, write_tensors

KINDS = {"ia3": IA3Config, "vera": VeraConfig}


def case(kind, base, what, note=None, **config):
    task = "SEQ_CLS" if base.endswith("-classifier") else "CAUSAL_LM"
    return {"name": f"{kind}-{base}-{what}", "kind": kind, "base": base, "note": note,
            "config": {"task_type": task, **config}}


CASES = [
    case("ia3", "llama", "defaults"),
    case("ia3", "llama", "outputs", target_modules=["q_proj", "o_proj"], feedforward_modules=[]),
    case("ia3", "llama", "regex", target_modules=r".*layers\.1\..*_proj", feedforward_modules=r".*(up|gate)_proj"),
    case("ia3", "llama", "norm", target_modules=["k_proj"], feedforward_modules=[], modules_to_save=["norm"]),
    case("ia3", "qwen3", "defaults"),
    case("ia3", "gpt2", "defaults"),
    case("ia3", "bert-classifier", "defaults"),
    case("vera", "llama", "lora-targets", r=8, target_modules=["q_proj", "v_proj", "down_proj"]),
    case("vera", "llama", "without-projection", r=4, save_projection=False, projection_prng_key=7),
    case("vera", "llama-tied", "biases", r=4, bias="vera_only", target_modules=["q_proj", "v_proj"]),
    case("vera", "gpt2", "transposed", r=4, d_initial=0.3, target_modules=["c_attn", "c_fc"]),
    case("vera", "bert-classifier", "defaults", r=6),
]


def randomise(model, key):
    """Moves every trained vector away from where it begins."""
    gen = generator(key)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=gen))


def run_case(spec):
    folder = fresh(f"methods/{spec['name']}")
    torch.manual_seed(seed_of(spec["name"]))
    batch = inputs(spec["base"], SHORT)
    model = get_peft_model(load_base(spec["base"]), KINDS[spec["kind"]](**copy.deepcopy(spec["config"]))).eval()
    randomise(model, spec["name"])
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    adapted = output(model, batch)
    again = PeftModel.from_pretrained(load_base(spec["base"]), str(folder)).eval()
    assert max_diff(adapted, output(again, batch)) == 0
    merged = output(model.merge_and_unload(), batch)
    plain = output(load_base(spec["base"]), batch)
    write_tensors(folder / "io.safetensors", {**batch, "base": plain, "output": adapted, "merged": merged})
    note = {"note": spec["note"]} if spec["note"] else {}
    write_json(folder / "case.json", {"base": spec["base"], "kind": spec["kind"], "config": spec["config"],
                                      "merge_error": max_diff(adapted, merged), **note})
    print(f"{spec['name']:36} effect {max_diff(adapted, plain):.3f}  merge {max_diff(adapted, merged):.1e}")


def main():
    warnings.filterwarnings("ignore")
    fresh("methods")
    for spec in CASES:
        run_case(spec)


if __name__ == "__main__":
    setup()
    main()
