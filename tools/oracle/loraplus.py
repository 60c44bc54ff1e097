"""golden/loraplus: runs with PEFT's LoRA+ groups; start, losses, norms, the end, and the optimizer's state."""

import copy
import warnings

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.optimizers import create_loraplus_optimizer

from adapters import randomise, save
from common import fresh, load_base, seed_of, setup, write_json, write_tensors
from training import MAX_NORM, STEPS, batches

OPTIMIZER = dict(lr=0.005, betas=[0.9, 0.999], eps=1e-8)
RATIO, DECAY, EMBEDDING = 4.0, 0.1, 1e-4
CASES = {
    "embedding": {"target_modules": ["embed_tokens", "v_proj"]},
    "dora": {"target_modules": ["q_proj", "down_proj"], "use_dora": True},
    "bias": {"target_modules": ["q_proj", "down_proj"], "lora_bias": True},
}


def run_case(name, config):
    folder = fresh(f"loraplus/{name}")
    spec = {"name": f"loraplus {name}", "base": "llama",
            "config": {"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM", **config}}
    torch.manual_seed(seed_of(spec["name"]))
    model = get_peft_model(load_base("llama"), LoraConfig(**copy.deepcopy(spec["config"])))
    randomise(model, spec["name"])
    save(model, folder / "start")
    data = batches(spec)
    model = PeftModel.from_pretrained(load_base("llama"), str(folder / "start"), is_trainable=True).train()
    optimizer = create_loraplus_optimizer(
        model, torch.optim.AdamW, loraplus_lr_ratio=RATIO, loraplus_weight_decay=DECAY,
        loraplus_lr_embedding=EMBEDDING, **OPTIMIZER)
    params = {k: p for k, p in model.named_parameters() if p.requires_grad}
    losses, norms = [], []
    for step in range(STEPS):
        loss = model(**{k: v[step] for k, v in data.items()}).loss
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(params.values(), MAX_NORM))
        optimizer.step()
        losses.append(loss.detach())
    save(model, folder / "final")
    state = {}
    for key, param in params.items():
        # As the file of the adapter names it: without the adapter's name, and a vector without `weight`.
        short = key.replace(".default", "").replace("lora_magnitude_vector.weight", "lora_magnitude_vector")
        for what in ("exp_avg", "exp_avg_sq"):
            state[f"{what}.default.{short}"] = optimizer.state[param][what]
    write_tensors(folder / "io.safetensors", {**data, "losses": torch.stack(losses), "grad_norms": torch.stack(norms)})
    write_tensors(folder / "optimizer.safetensors", state)
    write_json(folder / "case.json", {"ratio": RATIO, "weight_decay": DECAY, "embedding_lr": EMBEDDING, **OPTIMIZER,
                                      "max_grad_norm": MAX_NORM, "config": spec["config"]})


def main():
    warnings.filterwarnings("ignore")
    fresh("loraplus")
    for name, config in CASES.items():
        run_case(name, config)


if __name__ == "__main__":
    setup()
    main()
