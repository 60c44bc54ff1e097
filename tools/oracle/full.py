"""golden/full: whole models trained; eight batches, the loss and gradient norm of every step, the model at the end."""

import warnings

import torch

from common import fresh, load_base, max_diff, setup, write_json, write_tensors
from training import MAX_NORM, OPTIMIZER, STEPS, batches, task_of

# Every parameter is trained whose name contains none of these.
CASES = {
    "llama": [],
    "llama-tied": ["layers.0."],
    "gpt2": ["wte", "wpe"],
    "bert-classifier": ["embeddings"],
}


def train(base, frozen, data, attention):
    model = load_base(base)
    model.set_attn_implementation(attention)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not any(part in name for part in frozen))
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, **OPTIMIZER)
    losses, norms = [], []
    for step in range(STEPS):
        loss = model(**{key: value[step] for key, value in data.items()}).loss
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM))
        optimizer.step()
        losses.append(loss.detach())
    return dict(model.named_parameters()), torch.stack(losses), torch.stack(norms)


def main():
    warnings.filterwarnings("ignore")
    fresh("full")
    for base, frozen in CASES.items():
        folder = fresh(f"full/{base}")
        data = batches({"name": f"full {base}", "base": base, "config": {"task_type": task_of(base)}})
        final, losses, norms = train(base, frozen, data, "sdpa")
        other, other_losses, _ = train(base, frozen, data, "eager")
        write_tensors(folder / "io.safetensors", {**data, "losses": losses, "grad_norms": norms})
        write_tensors(folder / "final.safetensors", {k: v.detach() for k, v in final.items()})
        rounding = {"losses": max_diff(losses, other_losses), "final": max(max_diff(final[k], other[k]) for k in final)}
        write_json(folder / "case.json", {"base": base, "freeze": frozen, "steps": STEPS, "max_grad_norm": MAX_NORM,
                                          "optimizer": {"name": "AdamW", **OPTIMIZER}, "rounding": rounding})
        print(f"full {base:20} loss {losses[0]:.4f} -> {losses[-1]:.4f}  rounding {rounding}")


if __name__ == "__main__":
    setup()
    main()
